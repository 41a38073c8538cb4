"""Leases of claimed messages: for how long a claim is held, and its renewal while the message is being sent."""

import asyncio
from collections.abc import Callable, Collection

from gatepost.observe import logs
from gatepost.outbox import Claim, Outbox, polling
from gatepost.plugin_host.instances import SEND_OVERRUN

LEASE_FACTOR = 3.0
"""The length of a lease, as a multiple of the longest time that a send may take."""

_log = logs.get(__name__)


def lease_for(timeout: float) -> float:
    """Return the seconds for which a claim is held for an instance with this timeout."""
    # With SEND_OVERRUN, so that even with a short timeout the lease does not end while the plugin is still sending.
    return LEASE_FACTOR * (timeout + SEND_OVERRUN)


class Leases:
    """The leases of all claims that this process holds."""

    def __init__(self, outbox: Outbox, clock: Callable[[], float]) -> None:
        self._outbox = outbox
        self._clock = clock
        self._held: dict[str, tuple[Claim, float, float]] = {}
        """By message id the claim, the seconds of its lease, and the time of the next renewal."""

    @property
    def message_ids(self) -> Collection[str]:
        """The ids of the messages that are held."""
        return self._held.keys()

    def hold(self, claim: Claim, lease: float, *, renew_in: float) -> None:
        """Hold a claim from now on; its lease of ``lease`` seconds is renewed for the first time in ``renew_in``."""
        self._held[claim.id] = claim, lease, self._clock() + renew_in

    def release(self, claim: Claim) -> None:
        """Stop renewing the lease of this claim."""
        self._held.pop(claim.id, None)

    async def renew(self) -> None:
        """Renew each lease when a third of it is over, until cancelled."""
        while True:
            await asyncio.sleep(polling.POLL_INTERVAL)
            now = self._clock()
            due = [(claim, lease) for claim, lease, renew_at in self._held.values() if renew_at <= now]
            for claim, lease in due:
                self._held[claim.id] = claim, lease, now + lease / 3
            outcomes = await asyncio.gather(
                *(self._outbox.renew(claim, lease) for claim, lease in due), return_exceptions=True
            )
            failed = sum(isinstance(outcome, Exception) for outcome in outcomes)
            if failed:
                _log.warning("leases_not_renewed", count=failed)
