"""The choice of the instance for the next message of a route with ``split``, so that each gets its share.

The method is weighted round robin by the earliest deadline, R. Tijdeman's answer to the chairman assignment problem
(Discrete Mathematics 32, 1980). With each message every instance gains its share of one, as credit, and the chosen one
pays a whole one. Of the instances with credit, the one is chosen that would be the first to have a whole message's
worth. So after any number of messages each instance has got its share to within one message. Smooth weighted round
robin, as nginx has it, chooses the largest credit; from four instances on one may lag behind by more than one message.

An instance that can't be used gains nothing meanwhile: the others share its messages, and afterwards it has the credit
of before, which is about one message at most. So it does not catch up.
"""

from collections.abc import Collection, Mapping

NO_FACTORS: Mapping[str, float] = {}

_NO_CREDIT = 1e-9
"""Credit up to which an instance has none: sums of shares are not exact."""


class Split:
    """The shares of the instances of one route, and what each has had of them."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        """Take the weights by instance; one with the weight 0 gets no message."""
        self._weights = dict(weights)
        self._credits = dict.fromkeys(weights, 0.0)

    def copy(self) -> "Split":
        """Return a split with the same weights and credits, to look ahead without any effect on this one."""
        other = Split(self._weights)
        other._credits = dict(self._credits)
        return other

    def shares(
        self, unusable: Collection[str] = (), factors: Mapping[str, float] = NO_FACTORS
    ) -> dict[str, float]:
        """Return the part of the messages that each instance gets; together 1, or empty where none can be used.

        ``factors`` are by instance and from 0 to 1: the part of its weight that counts now, 1 where it is
        missing. They have no effect where they would leave no instance.
        """
        usable = {name: weight for name, weight in self._weights.items() if weight and name not in unusable}
        weights = {name: weight * factors.get(name, 1.0) for name, weight in usable.items()}
        if not any(weights.values()):
            weights = usable
        total = sum(weights.values())
        return {name: weight / total for name, weight in weights.items() if weight}

    def choose(self, unusable: Collection[str] = (), factors: Mapping[str, float] = NO_FACTORS) -> str | None:
        """Return the instance for the next message; None where none can be used. For the arguments see `shares`."""
        shares = self.shares(unusable, factors)
        if not shares:
            return None
        credit = self._credits
        for name, share in shares.items():
            credit[name] += share
        # After rests of other instances it may be that none of these has credit.
        candidates = [name for name in shares if credit[name] > _NO_CREDIT] or list(shares)
        chosen = min(candidates, key=lambda name: (1.0 - credit[name]) / shares[name])
        credit[chosen] -= 1.0
        return chosen
