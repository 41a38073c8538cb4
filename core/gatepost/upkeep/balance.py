"""The loop behind ``balance = "receipts"``: shares are read again and again, and decided once a minute."""

import asyncio
import time
from collections.abc import Callable, Collection

from gatepost.errors import StoreError
from gatepost.observe import logs
from gatepost.observe.log_throttle import LogThrottle
from gatepost.outbox import Outbox, named_leases
from gatepost.outbox.named_leases import LeaseRequest
from gatepost.outbox.report_outages import REFUSED_REPORTS
from gatepost.routing import shares
from gatepost.routing.shares import Change, Shares

READ_INTERVAL = 3.0
"""Seconds between two reads: a replica obeys a decision at most that much later, and the time of one read."""

DECIDE_INTERVAL = 30.0
"""Seconds between two attempts to decide. Twice a minute, so that no minute is left out."""

LEASE = 60.0
"""Seconds after which another replica decides when the one that did is gone."""

_log = logs.get(__name__)


class Balancer:
    """Keeps the shares of one gateway, and decides them where no other replica does."""

    def __init__(
        self, outbox: Outbox, shares_in_use: Shares, refused_instances: Callable[[], Collection[str]]
    ) -> None:
        """``refused_instances`` returns the instances whose webhooks this process refuses at present."""
        self._outbox = outbox
        self._shares = shares_in_use
        self._refused_instances = refused_instances
        self._warnings = LogThrottle(time.monotonic)

    async def run(self) -> None:
        """Read and decide until cancelled; where no route follows receipts, return at once."""
        decide_at = 0.0
        while self._shares.splits:
            if time.monotonic() >= decide_at:
                decide_at = time.monotonic() + DECIDE_INTERVAL
                await self.update(decide=True)
            else:
                await self.update()
            await asyncio.sleep(READ_INTERVAL)

    async def update(self, *, decide: bool = False) -> None:
        """Take over the shares that are in the store; with ``decide`` decide them first, if this replica has to."""
        if not self._shares.splits:
            return
        try:
            if decide:
                await self._decide()
            self._shares.replace(await self._outbox.change(shares.read, None))
        except StoreError as error:
            if self._warnings.due(""):
                _log.warning("shares_not_updated", reason=str(error))

    async def _decide(self) -> None:
        for name in sorted(self._refused_instances()):
            # The reports of an instance may come to any replica, so all of them have to know.
            await self._acquire(f"{REFUSED_REPORTS}{name}")
        if await self._acquire("balance"):
            for change in await self._outbox.change(shares.decide_shares, self._shares.splits):
                _log_change(change)

    async def _acquire(self, lease: str) -> bool:
        return await self._outbox.coordinate(named_leases.acquire, LeaseRequest(lease, LEASE))


def _log_change(change: Change) -> None:
    """Log that an instance loses more of its share, or has all of it again. What is between is no news."""
    facts = {
        "route": change.group.route,
        "country": change.group.country,
        "instance": change.instance,
        "percent": round(100 * change.share.factor),
    }
    if change.share.factor < change.before:
        _log.warning("share_reduced", reason=change.share.reason, **facts)
    elif change.share.factor == 1.0 > change.before:
        _log.info("share_restored", **facts)
