"""Claimed messages that wait for a slot of another instance than the one they were claimed for."""

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import TypeAlias

from gatepost.delivery.planner import Demand
from gatepost.delivery.routes import Member, SendingRoute
from gatepost.outbox import Claim, Queue
from gatepost.outbox.warmup_steps import Place

SLOT_TIMEOUT = 2.0
"""Seconds that a claimed message waits for a slot; then it is queued again, so that others get their turn."""


GivenSlot: TypeAlias = tuple[Member, float, Place | None]


class Slot:
    """A place in the line for a slot of a route."""

    __slots__ = ("claim", "member")

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.member: asyncio.Future[GivenSlot] = asyncio.get_running_loop().create_future()
        """The member that has a slot for the message, when its turn is, and its place where the member warms up."""


class WaitingRoom:
    """The messages that wait, by route and client, so that the planner treats them like those of a queue."""

    def __init__(self, changed: asyncio.Event) -> None:
        """Take the event to set when a message begins to wait."""
        self._changed = changed
        self._waiting: dict[Queue, tuple[SendingRoute, deque[Slot]]] = {}

    def demands(self) -> Iterator[Demand]:
        """Yield a demand for each route and client with a message that waits."""
        for queue, (route, slots) in self._waiting.items():
            yield Demand(queue, route, len(slots))

    def claims(self, demand: Demand, count: int) -> list[Claim]:
        """Return the ``count`` messages of a demand that have waited longest."""
        _route, slots = self._waiting.get(demand.queue, (None, ()))
        return [slot.claim for slot, _ in zip(slots, range(count), strict=False)]

    def give(self, demand: Demand, member: Member, turn_at: float, place: Place | None) -> None:
        """Give a slot, which the throttle has noted, to the message of a demand that has waited longest."""
        _route, slots = self._waiting[demand.queue]
        slot = slots.popleft()
        if not slots:
            del self._waiting[demand.queue]
        slot.member.set_result((member, turn_at, place))

    async def wait(self, claim: Claim, route: SendingRoute) -> GivenSlot | None:
        """Wait for a slot; return it, None after SLOT_TIMEOUT."""
        channel, name = route.key
        # No queue of the store has the id 0.
        queue = Queue(0, channel, name, claim.client)
        slot = Slot(claim)
        _route, slots = self._waiting.setdefault(queue, (route, deque()))
        slots.append(slot)
        self._changed.set()
        try:
            done, _ = await asyncio.wait([slot.member], timeout=SLOT_TIMEOUT)
        except asyncio.CancelledError:
            if slot.member.done():
                slot.member.result()[0].throttle.release()
            raise
        finally:
            if not slot.member.done():
                self._leave(queue, slot)
        return slot.member.result() if done else None

    def _leave(self, queue: Queue, slot: Slot) -> None:
        _route, slots = self._waiting[queue]
        slots.remove(slot)
        if not slots:
            del self._waiting[queue]
