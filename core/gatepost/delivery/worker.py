"""The delivery worker: claims messages, looks up their recipients, sends them and records the results."""

import asyncio
import time
from collections.abc import Callable, Mapping

import msgspec

from gatepost.config.settings import Settings
from gatepost.contacts.lookup import ContactCache, Contacts, LookupResult
from gatepost.delivery import attempt
from gatepost.delivery.attempt import InstanceAnswer
from gatepost.delivery.composition import Composer
from gatepost.delivery.dispatch import Assignment, Dispatch
from gatepost.delivery.failover import Delivery, Failover
from gatepost.delivery.in_flight import InFlight
from gatepost.delivery.planner import Planner
from gatepost.delivery.recipients import Recipients
from gatepost.delivery.routes import Lookups, RouteMember, RouteTable, SendingRoute, sending_routes
from gatepost.delivery.slots import reach_turn
from gatepost.delivery.suspects import Suspects
from gatepost.delivery.undecided import decide, lookup_routes
from gatepost.errors import StoreError, Uncertain
from gatepost.merge_fields.messages import UnusableTemplate
from gatepost.model import Email, Sms
from gatepost.observe import logs
from gatepost.observe.metrics import Metrics
from gatepost.outbox import Claim, Limit, Outbox, SendResult, polling
from gatepost.outbox.decisions import Decision
from gatepost.outbox.limits import route_limits
from gatepost.outbox.states import State
from gatepost.routing.router import Router
from gatepost.routing.shares import Shares

_MAX_KEY_DELAYS = 8
"""Attempts after which the delay grows no more while a content's key is missing: it is 256 seconds then, at most."""

_log = logs.get(__name__)


class DeliveryWorker:
    """The delivery worker of one gateway: what is claimed is sent, each message in a task of its own."""

    def __init__(
        self,
        settings: Settings,
        *,
        outbox: Outbox,
        members: Mapping[str, RouteMember],
        contacts: Contacts,
        contact_cache: ContactCache,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
        in_flight: InFlight | None = None,
    ) -> None:
        """Take the sending instances as ``members``, by name; other workers of this process share ``in_flight``."""
        self._settings = settings
        self._outbox = outbox
        self._recipients = Recipients(settings.clients, contacts, contact_cache)
        self._composer = Composer(settings, metrics, outbox.trail)
        self._clock = clock
        self._claims_end, self._stopping = asyncio.Event(), asyncio.Event()
        self._own: set[asyncio.Task[None]] = set()
        self._in_flight = in_flight = in_flight or InFlight(outbox, clock)
        self._leases = in_flight.leases
        self._failover = Failover(outbox, self._leases, metrics, clock, outbox.pauses, self._stopping)
        self._router = Router(settings)
        self.shares = Shares(settings.routes.balanced)
        """The shares of the split routes that follow receipts."""
        self._routes = RouteTable(
            sending_routes(settings.routes, members, self.shares), lookup_routes(settings.contacts.timeout)
        )
        self._dispatch = Dispatch(
            outbox,
            routes=self._routes,
            planner=Planner(outbox.pauses),
            in_flight=in_flight,
            begin=self._begin,
            clock=clock,
            stopping=self._claims_end,
        )
        self._suspects = Suspects(outbox, self._dispatch, tasks=in_flight.tasks, stopping=self._claims_end)

    async def run(self) -> None:
        """Send messages until ``retire`` or ``stop``; then return when none of its own is in flight any more."""
        renewal = asyncio.create_task(self._leases.renew(), name="delivery-renew")
        try:
            async with asyncio.TaskGroup() as loops:
                loops.create_task(self._dispatch.run(), name="delivery-claims")
                loops.create_task(self._suspects.run(), name="delivery-suspects")
            while self._own:
                await asyncio.wait(self._own)
        finally:
            renewal.cancel()
            # Some are left only when there was no time to wait for them: each of these records an uncertain result.
            for task in self._own:
                task.cancel()
            await asyncio.gather(renewal, *self._own, return_exceptions=True)

    def retire(self) -> None:
        """Claim no further messages, and take the time that those in flight need."""
        self._claims_end.set()
        self._outbox.queue_signals.event.set()

    def stop(self) -> None:
        """Claim no further messages, and begin no further repeats of those in flight."""
        self._stopping.set()
        self.retire()

    def _begin(self, assignment: Assignment) -> None:
        claim, lease = assignment.claim, assignment.member.lease
        self._leases.hold(claim, lease, renew_in=lease / 3)
        task = asyncio.create_task(self._deliver(assignment), name=f"send-{claim.id}")
        for tasks in (self._own, self._in_flight.tasks):
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _deliver(self, assignment: Assignment) -> None:
        """Deliver one claimed message and record the result."""
        result: SendResult | None = None
        claim = assignment.claim
        delivery = Delivery(claim, self._clock())
        delivery.places += filter(None, [assignment.place])
        try:
            if claim.missing_key:
                result = self._hold_back(assignment)
            elif isinstance(assignment.member, Lookups):
                result = await self._find_route(delivery, assignment)
            elif claim.passed:
                result = await self._send_to_next(delivery, assignment)
            else:
                result = await self._send(delivery, assignment)
        except asyncio.CancelledError:
            result = self._interrupted(delivery)
            raise
        except Exception as error:  # noqa: BLE001  an error with one message must not stop the others
            _log.error("delivery_failed", message=claim.id, exc_info=error)
            result = self._interrupted(delivery)
        finally:
            # The slot is free before the result is on disk: the next message is claimed in the same transaction.
            self._outbox.queue_signals.event.set()
            if result is not None:
                result = msgspec.structs.replace(
                    result, content=delivery.content, tries=delivery.tries, unused=delivery.unused_places
                )
                attempt.log_tries(self._outbox.trail, claim, delivery.tries)
                await polling.record(
                    self._outbox.finish, claim, result, on_lost=_log_lost_claim, on_error=_log_not_recorded
                )
            self._leases.release(claim)

    def _hold_back(self, assignment: Assignment) -> SendResult:
        """Return the result of a message whose content needs a key that is not configured now."""
        claim = assignment.claim
        assignment.member.throttle.release()
        self._outbox.missing_keys.note(claim.id, claim.missing_key)
        reason = f"its content is encrypted with the key {claim.missing_key}, which store.content_keys does not have"
        delay = attempt.retry_delay(min(claim.attempt, _MAX_KEY_DELAYS))
        return msgspec.structs.replace(attempt.retry_result(claim, reason), delay=delay)

    async def _send(
        self, delivery: Delivery, assignment: Assignment, lookup: LookupResult | None = None
    ) -> SendResult:
        """Send a message through its member, which has a slot and a turn for it; return the result."""
        member = assignment.member
        assert isinstance(member, RouteMember)
        begun_at = self._clock()
        try:
            message = await self._compose(delivery, lookup, urgent=assignment.route.urgent)
        except BaseException:
            member.throttle.release()
            raise
        if isinstance(message, SendResult):
            member.throttle.release()
            return message
        if member.rate:
            self._dispatch.preparation.note(self._clock() - begun_at)
        if not await reach_turn(self._outbox, member, assignment.turn_at, delivery.places, self._clock):
            return attempt.retry_result(delivery.claim, "it missed its turn at its instance")
        answer = await self._failover.send(delivery, message, member, assignment.route)
        return self._result(delivery.claim, answer)

    async def _send_to_next(self, delivery: Delivery, assignment: Assignment) -> SendResult:
        """Send a message that members of its route had already through the next one; return the result."""
        claim = delivery.claim
        route = assignment.route.following(claim.passed)
        if route and assignment.member in route.members:
            return await self._send(delivery, assignment._replace(route=route))
        try:
            slot = await self._slot(delivery, assignment, route)
        finally:
            assignment.member.throttle.release()
        return slot if isinstance(slot, SendResult) else await self._send(delivery, slot)

    async def _slot(
        self, delivery: Delivery, assignment: Assignment, route: SendingRoute | None
    ) -> Assignment | SendResult:
        """Wait for a slot of a route; return the assignment, or the result of a message without a slot."""
        claim = assignment.claim
        if route is None:
            return attempt.final_result(claim, State.REJECTED, "no plugin of its route is left")
        slot = await self._dispatch.wait_for_slot(assignment, route)
        if slot is None:
            return attempt.retry_result(claim, "no instance of its route was free")
        delivery.places += filter(None, [slot.place])
        self._leases.hold(claim, slot.member.lease, renew_in=0.0)
        return slot

    async def _find_route(self, delivery: Delivery, assignment: Assignment) -> SendResult | None:
        """Decide the route of a message, and send it where the decision is not stored; return the result, if any."""
        claim = delivery.claim
        try:
            lookup = await self._recipients.find(claim)
            if isinstance(lookup, SendResult):
                return lookup
            decision = self._decide(claim, lookup)
            if isinstance(decision, SendResult):
                return decision
            if not claim.route:
                moved = await polling.record(
                    self._outbox.move, claim, decision, on_lost=_log_lost_claim, on_error=_log_not_recorded
                )
                if isinstance(moved, Limit):
                    return attempt.final_result(claim, State.REJECTED, moved.problem)
                return None
            route = self._routes.find(claim.channel, decision.route).following(claim.passed)
            slot = await self._slot(delivery, assignment, route)
        finally:
            assignment.member.throttle.release()
        return slot if isinstance(slot, SendResult) else await self._send(delivery, slot, lookup)

    def _decide(self, claim: Claim, lookup: LookupResult) -> Decision | SendResult:
        """Return the route of a message, or the result of a message that no route takes now."""
        assert lookup.recipient is not None
        try:
            decision, country = decide(self._router, claim, lookup.recipient)
        except ValueError:
            return _unreadable(claim)
        if decision.route is None or decision.route.refuse:
            return attempt.unroutable_result(claim, decision)
        name = decision.route.name
        limits = route_limits(claim.channel, name, decision.route.per_day)
        return Decision(claim.id, claim.attempt, claim.channel, claim.client, name, country, limits)

    def _interrupted(self, delivery: Delivery) -> SendResult:
        """Return the result of an interrupted delivery: uncertain only while an instance is sending."""
        if delivery.sending:
            unknown = Uncertain("interrupted while it was being sent")
            return self._result(delivery.claim, InstanceAnswer(delivery.sending, unknown))
        if delivery.answer:
            return self._result(delivery.claim, delivery.answer)
        return attempt.retry_result(delivery.claim, "interrupted before it was sent")

    def _result(self, claim: Claim, answer: InstanceAnswer) -> SendResult:
        return attempt.send_result(claim, answer, self._settings.delivery.uncertain_wait)

    async def _compose(
        self, delivery: Delivery, known: LookupResult | None, *, urgent: bool
    ) -> Email | Sms | SendResult:
        """Return the message to send, or the result of a message that can't be sent now."""
        claim = delivery.claim
        lookup = known or await self._recipients.find(claim)
        if isinstance(lookup, SendResult):
            return lookup
        assert lookup.recipient is not None
        try:
            composed = await self._composer.compose(claim, lookup.recipient, lookup.attributes, urgent=urgent)
        except ValueError:
            return _unreadable(claim)
        except UnusableTemplate as error:
            if error.is_final:
                return attempt.final_result(claim, State.REJECTED, str(error))
            _log.error("merge_fields_not_filled", message=claim.id, reason=str(error))
            return attempt.retry_result(claim, str(error))
        delivery.content, delivery.template = composed.content, composed.template
        delivery.private, delivery.lacking = composed.private, composed.lacking
        return composed.message


def _unreadable(claim: Claim) -> SendResult:
    _log.error("content_unreadable", message=claim.id)
    return attempt.final_result(claim, State.FAILED, "its content can't be read")


def _log_lost_claim(claim: Claim, result: SendResult | Decision) -> None:
    state = result.state if isinstance(result, SendResult) else State.QUEUED
    _log.warning("claim_lost", message=claim.id, state=state.value)


def _log_not_recorded(claim: Claim, error: StoreError, _last: bool) -> None:
    _log.warning("result_not_stored_yet", message=claim.id, reason=str(error))
