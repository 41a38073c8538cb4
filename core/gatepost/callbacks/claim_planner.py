"""The plan of the next claims: which client gets how many of the slots that are free."""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator

from gatepost.callbacks.slots import ClaimPlan, ClientSlots, RestingTarget, allowed_calls

MAX_CALLS = 96
"""Calls in flight at once, of all clients together; a CallbackClient has a few connections more."""

REMOVED_CLIENTS_INTERVAL = 30.0
"""Seconds between two claims of callbacks for clients that the configuration no longer has."""

REMOVED_CLIENTS_CALLS = 16
"""Callbacks in such a claim; each of them fails at once."""


class ClaimPlanner:
    """The slots of all clients."""

    def __init__(self, clients: Collection[str], clock: Callable[[], float] = time.monotonic) -> None:
        """Take the names of the clients that are configured."""
        self._clock = clock
        self._removed_clients = ClientSlots(MAX_CALLS)
        self.slots: dict[str, ClientSlots] = {}
        """By client."""
        self.take_over(clients)

    def take_over(self, clients: Collection[str]) -> None:
        """Plan for these clients from now on."""
        self.slots = {name: self.slots.get(name) or ClientSlots(MAX_CALLS) for name in clients}
        self._turns = deque(self.slots)
        self._removed_clients_at = 0.0

    def of(self, client: str) -> ClientSlots:
        """Return the slots of a client; those of removed clients are the same."""
        return self.slots.get(client, self._removed_clients)

    def end_rests(self, targets: Iterable[tuple[str, str]]) -> None:
        """End the rests of these targets, given as pairs of client and target."""
        now = self._clock()
        for client, target in targets:
            self.of(client).end_rest(target, now)

    def resting_targets(self) -> Iterator[tuple[str, RestingTarget]]:
        """Yield each target that is not usable, after the name of its client; empty for one that was removed."""
        now = self._clock()
        for client, slots in (*self.slots.items(), ("", self._removed_clients)):
            for target in slots.resting(now):
                yield client, target

    def may_claim(self, calls: int) -> bool:
        """Return whether there is a claim to make now, while there are so many ``calls``."""
        now, free_slots = self._clock(), MAX_CALLS - calls
        idle = self._idle_clients()
        return now >= self._removed_clients_at or any(
            slots.may_claim(now, allowed_calls(slots.in_flight, free_slots, idle - (not slots.in_flight)))
            for slots in self.slots.values()
        )

    def plan(self, calls: int) -> list[tuple[str, ClaimPlan]]:
        """Return the claims to make now with their clients, for no more calls together than there are free slots.

        An empty name stands for all clients that were removed.
        """
        now, free_slots = self._clock(), MAX_CALLS - calls
        idle = self._idle_clients()
        # Each client is the first one in turn. The limit is one call for a client whose last claim brought none.
        self._turns.rotate()
        all_slots = self.slots.values()
        busy = sum(slots.busy for slots in all_slots)
        limit = max(1, (free_slots - len(all_slots) + busy) // max(1, busy))
        plans: list[tuple[str, ClaimPlan]] = []
        for name in self._turns:
            slots = self.slots[name]
            idle -= not slots.in_flight
            allowed = allowed_calls(slots.in_flight, free_slots, idle)
            for plan in slots.plan_claims(now, limit if slots.busy else 1, allowed):
                plans.append((name, plan))
                free_slots -= plan.limit
        if now >= self._removed_clients_at:
            self._removed_clients_at = now + REMOVED_CLIENTS_INTERVAL
            plans.append(("", ClaimPlan(REMOVED_CLIENTS_CALLS)))
        return plans

    def _idle_clients(self) -> int:
        return sum(not slots.in_flight for slots in self.slots.values())
