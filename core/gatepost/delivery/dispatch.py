"""The claims of the delivery worker: what is due is claimed as the planner says, and its sending begins."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gatepost.delivery.in_flight import InFlight
from gatepost.delivery.planner import Deal, Demand, Planner
from gatepost.delivery.routes import Member, RouteTable, SendingRoute
from gatepost.delivery.slots import take_slot
from gatepost.delivery.waiting_room import WaitingRoom
from gatepost.errors import StoreError
from gatepost.observe import logs
from gatepost.outbox import Claim, Outbox, Queue, polling
from gatepost.outbox.claims import ClaimBatch, ClaimRequest
from gatepost.outbox.states import State
from gatepost.outbox.warmup_steps import Place

MAX_LEAD = 5.0
"""Seconds; turns are not taken further ahead, however long lookups take."""

_log = logs.get(__name__)


class Assignment(NamedTuple):
    """A claimed message, and the member that has a slot and a turn for it."""

    claim: Claim
    member: Member
    route: SendingRoute
    turn_at: float
    """When the turn is, by the clock of the worker."""
    alone: bool = False
    """Whether no other message is in flight meanwhile."""
    place: Place | None = None
    """Its place, where the member warms up."""


class Preparation:
    """How long messages need lately between their claim and their send: for the lookup, and to compose them."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def note(self, seconds: float) -> None:
        """Note the time of one message. A longer one counts at once, and is forgotten slowly."""
        self.seconds = min(MAX_LEAD, max(seconds, 0.99 * self.seconds))


class Dispatch:
    """Claims messages and hands each to ``begin``."""

    def __init__(
        self,
        outbox: Outbox,
        *,
        routes: RouteTable,
        planner: Planner,
        in_flight: InFlight,
        begin: Callable[[Assignment], None],
        clock: Callable[[], float],
        stopping: asyncio.Event,
    ) -> None:
        """``begin`` gets each message that is claimed; ``in_flight`` is what this process has claimed."""
        self._outbox = outbox
        self._routes = routes
        self._planner = planner
        self._leases = in_flight.leases
        self._begin = begin
        self._clock = clock
        self._stopping = stopping
        self.preparation = Preparation()
        """Of messages for instances whose rate the replicas share."""
        self.waiting = WaitingRoom(outbox.queue_signals.event)
        """The messages in flight that wait for a slot."""
        self.lock = in_flight.claim_lock
        self._unconfirmed = False
        """Whether the last claim failed; the store may have made it nevertheless."""
        self._due: dict[Queue, None] = {}
        """Queues that may have due messages."""
        self._next_scan = 0.0

    async def run(self) -> None:
        """Claim until the worker stops or the store is broken."""
        await polling.claim_repeatedly(
            self._claim,
            work=self._outbox.queue_signals.event,
            stopping=self._stopping,
            on_error=self._note_failed_claim,
        )

    def is_usable(self, queue: Queue) -> bool:
        """Return whether a message of this queue could be sent now."""
        return self._planner.can_send(Demand(queue, self._routes.of(queue)), self._clock())

    async def claim_suspect(self, queue: Queue) -> None:
        """Begin to send the next suspect of a queue; the lock is held, and no message is in flight."""
        deals = self._planner.plan([Demand(queue, self._routes.of(queue), 1)], self._clock())
        await self._claim_deals(lambda: deals, State.SUSPECT)

    async def wait_for_slot(self, assignment: Assignment, route: SendingRoute) -> Assignment | None:
        """Wait for a slot of a route for a message that is claimed already; None where none was free soon enough."""
        claim = assignment.claim
        if not self._planner.can_send(Demand(claim.queue, route), self._clock()):
            # Meanwhile the message has a slot of the instance that it was claimed for, which others need.
            return None
        if assignment.alone:
            # Claims wait for the end of this message, so no plan would give it a slot.
            deals = self._planner.plan([Demand(claim.queue, route, 1)], self._clock())
            if not deals:
                return None
            member = deals[0].members[0]
            slot = await take_slot(self._outbox, member, self._clock())
            if slot is None:
                return None
            return Assignment(claim, member, route, self._clock() + slot.wait, place=slot.place)
        given = await self.waiting.wait(claim, route)
        if given is None:
            return None
        member, turn_at, place = given
        return Assignment(claim, member, route, turn_at, place=place)

    def _note_failed_claim(self, error: StoreError) -> None:
        _log.warning("claim_failed", reason=str(error))

    async def _claim(self) -> float | None:
        """Begin to send what is due; return the wait until the next claim, None where more may be due."""
        if self._unconfirmed:
            # Messages of a claim that was not confirmed would otherwise wait until their lease ends.
            async with self.lock:
                await self._outbox.release_claims(self._leases.message_ids)
            self._unconfirmed = False
        await self._find_due_queues()
        # Without a free slot the claim would be a transaction for nothing, with each send that ends.
        if not self._planner.has_free_slot(self._demands(), self._clock()):
            return self._planner.next_claim_in(self._demands(), self._clock())
        async with self.lock:
            if self._stopping.is_set():
                return polling.POLL_INTERVAL
            # The plan is made late: messages whose results share the transaction have freed their slots by then.
            deals = await self._claim_deals(lambda: self._planner.plan(self._demands(), self._clock()))
        return None if deals else self._planner.next_claim_in(self._demands(), self._clock())

    async def _find_due_queues(self) -> None:
        new, rescan = self._outbox.queue_signals.take()
        self._due |= dict.fromkeys(new)
        if rescan or self._clock() >= self._next_scan:
            self._next_scan = self._clock() + polling.POLL_INTERVAL
            self._due |= dict.fromkeys(await self._outbox.due_queues())

    def _demands(self) -> list[Demand]:
        return [*self.waiting.demands(), *(Demand(queue, self._routes.of(queue)) for queue in self._due)]

    async def _claim_deals(
        self, plan: Callable[[], Sequence[Deal]], state: State = State.QUEUED
    ) -> Sequence[Deal]:
        """Make the plan when the transaction begins, claim what it says, and begin to send that; return the plan."""
        deals: list[Deal] = []

        def requests() -> list[ClaimRequest]:
            deals.extend(plan())
            lead = self.preparation.seconds
            return [_request(deal, state, lead) for deal in deals]

        try:
            batches = await self._outbox.claim(requests)
        except StoreError:
            self._unconfirmed = True
            raise
        for deal, batch in zip(deals, batches, strict=True):
            self._begin_batch(deal, batch, alone=state is State.SUSPECT)
        return deals

    def _begin_batch(self, deal: Deal, batch: ClaimBatch, *, alone: bool) -> None:
        if batch.exhausted and not alone:
            self._due.pop(deal.demand.queue, None)
        self._defer(deal.members, batch)
        now = self._clock()
        shared = _turns_by_member(deal, batch)
        is_waiting = not deal.demand.queue.id
        claims = self.waiting.claims(deal.demand, len(batch.turns)) if is_waiting else batch.claims
        for claim, member in zip(claims, self._planner.assign(deal, claims), strict=True):
            wait = member.throttle.begin(now)
            if shared and member.rate:
                wait = shared[member.name].popleft() - time.monotonic()
            place = batch.places.get(member.name)
            if is_waiting:
                self.waiting.give(deal.demand, member, now + wait, place)
            else:
                self._begin(Assignment(claim, member, deal.demand.route, now + wait, alone, place))

    def _defer(self, members: Sequence[Member], batch: ClaimBatch) -> None:
        """Claim nothing for an instance without turns or places until there are new ones."""
        for member in members if batch.next_claim_at or batch.full_until else ():
            now = self._clock()
            if moment := batch.next_claim_at.get(member.name):
                member.throttle.defer(now, moment - time.monotonic())
            if member.warmup and (moment := batch.full_until.get(member.name)):
                member.warmup.full_until = now + moment - time.monotonic()


def _turns_by_member(deal: Deal, batch: ClaimBatch) -> dict[str, deque[float]]:
    """Return the turns of each instance whose rate is shared, as times of the monotonic clock."""
    turns: dict[str, deque[float]] = {}
    for member, turn in zip(deal.members, batch.turns, strict=False):
        turns.setdefault(member.name, deque()).append(turn)
    return turns


def _request(deal: Deal, state: State, lead: float) -> ClaimRequest:
    rates = [member.rate for member in deal.members]
    warms_up = any(member.warmup for member in deal.usable)
    return ClaimRequest(
        deal.demand.queue,
        len(deal.members),
        max(member.lease for member in deal.members),
        state=state,
        rates=rates if any(rates) or not deal.demand.queue.id else (),
        lead=lead,
        warmups=[member.warmup.plan if member.warmup else None for member in deal.members]
        if warms_up
        else (),
    )
