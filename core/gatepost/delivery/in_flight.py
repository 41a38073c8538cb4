"""What one process has claimed and not finished."""

import asyncio
from collections.abc import Callable

from gatepost.delivery.leases import Leases
from gatepost.outbox import Outbox


class InFlight:
    """The messages in flight in this process, whichever delivery worker has claimed them.

    After a reload two workers exist for a while: the old one finishes what it has, and the new one claims.
    """

    def __init__(self, outbox: Outbox, clock: Callable[[], float]) -> None:
        self.leases = Leases(outbox, clock)
        self.tasks: set[asyncio.Task[None]] = set()
        """A task for each message."""
        self.claim_lock = asyncio.Lock()
        """Held during a claim. While it is held, nothing else claims."""
