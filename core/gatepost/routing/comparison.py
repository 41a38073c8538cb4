"""The comparison of one instance with the others: the Cochran-Mantel-Haenszel test over minutes.

Messages that were sent in the same minute have had the same time to be delivered. So each minute is a stratum of its own:
the messages of the instance against those of the others, delivered so far against not. The sums over all minutes say
whether the instance delivers less, or later, and neither the age of the messages nor a change of the shares biases them.
`docs/explanation/balance.md` has the formulas.
"""

import math

import msgspec


class Comparison(msgspec.Struct, kw_only=True):
    """The sums over the minutes in which both sides sent something."""

    sent: int = 0
    delivered: int = 0
    others_sent: int = 0
    weight: float = 0.0
    """The sum of the weights of the minutes: n₁n₀/N."""
    weighted: float = 0.0
    """The sum of the weights times the instance's part that was delivered."""
    others_weighted: float = 0.0
    variance: float = 0.0

    def add(self, sent: int, delivered: int, others_sent: int, others_delivered: int) -> None:
        """Add one minute. A minute in which one side sent nothing compares nothing and is left out."""
        if not sent or not others_sent:
            return
        # A process that was killed may have lost what it counted as sent.
        delivered, others_delivered = min(delivered, sent), min(others_delivered, others_sent)
        total, all_delivered = sent + others_sent, delivered + others_delivered
        self.sent += sent
        self.delivered += delivered
        self.others_sent += others_sent
        self.weight += sent * others_sent / total
        self.weighted += delivered * others_sent / total
        self.others_weighted += others_delivered * sent / total
        self.variance += (
            sent * others_sent * all_delivered * (total - all_delivered) / (total * total * (total - 1))
        )

    @property
    def rate(self) -> float:
        """The part of the instance's messages that was delivered, from 0 to 1."""
        return self.weighted / self.weight if self.weight else 0.0

    @property
    def others_rate(self) -> float:
        """The part that was delivered of the others' messages of the same minutes."""
        return self.others_weighted / self.weight if self.weight else 0.0

    @property
    def ratio(self) -> float:
        """The risk ratio of Mantel and Haenszel: 1 where nothing differs, and where no message was delivered."""
        if self.others_weighted:
            return self.weighted / self.others_weighted
        return math.inf if self.weighted else 1.0

    @property
    def z(self) -> float:
        """The standard deviations between what was delivered and what is expected of equal instances."""
        if not self.variance:
            return 0.0
        return (self.weighted - self.others_weighted) / math.sqrt(self.variance)
