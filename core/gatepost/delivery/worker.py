"""The delivery worker: claims messages, looks up their recipients, sends them and records the results."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping

import msgspec

from gatepost.config.settings import Client, Settings
from gatepost.contacts.lookup import ContactCache, Contacts, LookupOutcome, LookupResult
from gatepost.content import preview_recipient
from gatepost.delivery import attempt
from gatepost.delivery.attempt import InstanceAnswer
from gatepost.delivery.failover import (
    Delivery,
    Failover,
    Route,
    RouteMember,
    first_usable,
    next_claim_in,
    wait_for_turn,
)
from gatepost.delivery.html_text import TextParts
from gatepost.delivery.leases import Leases
from gatepost.delivery.suspects import Suspects
from gatepost.errors import StoreError, Uncertain
from gatepost.model import Channel, Email, Sms
from gatepost.observe import logs
from gatepost.observe.metrics import Metrics
from gatepost.outbox import Claim, Outbox, Queue, SendResult, polling
from gatepost.outbox.claims import ClaimRequest
from gatepost.outbox.states import State

_log = logs.get(__name__)


class DeliveryWorker:
    """The delivery worker of one gateway, with a loop for each channel that has a route."""

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
    ) -> None:
        """Take the sending instances as ``members``, by name."""
        self._settings = settings
        self._outbox = outbox
        self._contacts = contacts
        self._contact_cache = contact_cache
        self._text_parts = TextParts(settings.clients, metrics)
        self._clock = clock
        self._stopping = asyncio.Event()
        self._in_flight: set[asyncio.Task[None]] = set()
        self._leases = Leases(outbox, clock)
        self._failover = Failover(self._leases, metrics, clock)
        self._routes: Mapping[Channel, Route] = {
            channel: [members[name] for name in settings.routes.instances(channel)] for channel in Channel
        }
        # One claim at a time: by the loop, or by Suspects, which sends a message alone.
        self._claim_lock = asyncio.Lock()
        self._unconfirmed = False
        """Whether the last claim failed; the store may have made it nevertheless."""
        self._due: dict[Queue, None] = {}
        """Queues that may have due messages."""
        self._next_scan = 0.0
        self._suspects = Suspects(
            outbox,
            self._claim_lock,
            in_flight=self._in_flight,
            usable=lambda queue: first_usable(self._routes[queue.channel], self._clock()) is not None,
            begin=self._begin_suspect,
            stopping=self._stopping,
        )

    async def run(self) -> None:
        """Send messages until ``stop``; then return when none is in flight any more."""
        renewal = asyncio.create_task(self._leases.renew(), name="delivery-renew")
        try:
            async with asyncio.TaskGroup() as loops:
                claiming = polling.claim_repeatedly(
                    self._claim,
                    work=self._outbox.queue_signals.event,
                    stopping=self._stopping,
                    on_error=self._note_failed_claim,
                )
                loops.create_task(claiming, name="delivery-claims")
                loops.create_task(self._suspects.run(), name="delivery-suspects")
            while self._in_flight:
                await asyncio.wait(self._in_flight)
        finally:
            renewal.cancel()
            # Some are left only when there was no time to wait for them: each of these records an uncertain result.
            for task in self._in_flight:
                task.cancel()
            await asyncio.gather(renewal, *self._in_flight, return_exceptions=True)

    def stop(self) -> None:
        """Claim no further messages."""
        self._stopping.set()
        self._outbox.queue_signals.event.set()

    def _note_failed_claim(self, error: StoreError) -> None:
        _log.warning("claim_failed", reason=str(error))
        self._unconfirmed = True

    async def _claim(self) -> float | None:
        """Begin to send what is due; return the wait until the next claim, None where more may be due."""
        if self._unconfirmed:
            # Messages of a claim that was not confirmed would otherwise wait until their lease ends.
            async with self._claim_lock:
                await self._outbox.release_claims(self._leases.message_ids)
            self._unconfirmed = False
        await self._find_due_queues()
        members: list[RouteMember] = []
        requests: list[ClaimRequest] = []

        def plan() -> list[ClaimRequest]:
            planned = self._plan()
            members.extend(member for member, _ in planned)
            requests.extend(request for _, request in planned)
            return requests

        async with self._claim_lock:
            if self._stopping.is_set():
                return polling.POLL_INTERVAL
            # The plan is made late: messages whose results share the transaction have freed their slots by then.
            batches = await self._outbox.claim(plan)
            for batch, member in zip(batches, members, strict=True):
                for claim in batch.claims:
                    self._begin(claim, member, self._routes[claim.channel])
        for request, batch in zip(requests, batches, strict=True):
            if len(batch.claims) < request.limit:
                self._due.pop(request.queue, None)
        if requests:
            return None
        waits = [next_claim_in(self._routes[queue.channel], self._clock()) for queue in self._due]
        return min([polling.POLL_INTERVAL, *waits])

    async def _find_due_queues(self) -> None:
        new, rescan = self._outbox.queue_signals.take()
        self._due |= dict.fromkeys(new)
        if rescan or self._clock() >= self._next_scan:
            self._next_scan = self._clock() + polling.POLL_INTERVAL
            self._due |= dict.fromkeys(await self._outbox.due_queues())

    def _plan(self) -> list[tuple[RouteMember, ClaimRequest]]:
        planned: list[tuple[RouteMember, ClaimRequest]] = []
        now = self._clock()
        reserved: Counter[str] = Counter()
        for queue in self._due:
            member = first_usable(self._routes[queue.channel], now)
            if member is None:
                continue
            name = member.instance.name
            limit = member.throttle.sends_allowed(now) - reserved[name]
            if limit > 0:
                reserved[name] += limit
                planned.append((member, ClaimRequest(queue, limit, member.lease)))
        return planned

    async def _begin_suspect(self, queue: Queue) -> None:
        """Begin to send the next suspect; the claim lock is held, and no other message is in flight."""
        route = self._routes[queue.channel]
        member = first_usable(route, self._clock())
        if member is None:
            return
        request = ClaimRequest(queue, 1, member.lease, state=State.SUSPECT)
        try:
            batches = await self._outbox.claim(lambda: [request])
        except StoreError:
            self._unconfirmed = True
            raise
        for claim in batches[0].claims:
            self._begin(claim, member, route)

    def _begin(self, claim: Claim, member: RouteMember, route: Route) -> None:
        wait = member.throttle.begin(self._clock())
        lease = member.lease
        self._leases.hold(claim, lease, renew_in=lease / 3)
        task = asyncio.create_task(self._deliver(claim, member, route, wait), name=f"send-{claim.id}")
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)

    async def _deliver(self, claim: Claim, member: RouteMember, route: Route, wait: float) -> None:
        """Deliver one claimed message and record the result; ``member`` has a slot and a turn for it."""
        result: SendResult | None = None
        delivery = Delivery(claim)
        try:
            try:
                message = await self._compose(delivery)
            except BaseException:
                member.throttle.release()
                raise
            if isinstance(message, SendResult):
                member.throttle.release()
                result = message
            else:
                await wait_for_turn(member, wait)
                answer = await self._failover.send(delivery, message, member, route)
                result = self._result(claim, answer)
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
                result = msgspec.structs.replace(result, content=delivery.content, tries=delivery.tries)
                await polling.record(
                    self._outbox.finish, claim, result, on_lost=_log_lost_claim, on_error=_log_not_recorded
                )
            self._leases.release(claim)

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

    async def _compose(self, delivery: Delivery) -> Email | Sms | SendResult:
        """Return the message to send, or the result of a message that can't be sent now."""
        claim = delivery.claim
        if claim.lifetime <= 0:
            return attempt.final_result(claim, State.FAILED, "its lifetime ended")
        client = self._settings.clients.get(claim.client)
        if client is None:
            # Sources of another client may know other people by the same ids. A renamed client may come back.
            return attempt.retry_result(claim, "its client is no longer configured")
        lookup = await self._find_recipient(claim, client)
        if lookup.outcome is LookupOutcome.UNREACHABLE:
            return attempt.retry_result(claim, "a contact source was unavailable")
        if lookup.recipient is None:
            return attempt.final_result(claim, State.REJECTED, _rejection_reason(claim, lookup))
        try:
            composed = await attempt.compose(claim, lookup.recipient, lookup.attributes, self._text_parts)
        except ValueError:
            _log.error("content_unreadable", message=claim.id)
            return attempt.final_result(claim, State.FAILED, "its content can't be read")
        delivery.content = composed.content
        return composed.message

    async def _find_recipient(self, claim: Claim, client: Client) -> LookupResult:
        """Look up the recipient as it is now, in the client's own sources alone."""
        if claim.preview:
            recipient = preview_recipient(client, claim.id, claim.preview)
            return LookupResult(LookupOutcome.FOUND if recipient else LookupOutcome.NO_ADDRESS, recipient)
        if claim.suppressed:
            return LookupResult(LookupOutcome.BLOCKED, blocked=claim.suppressed)
        earlier = self._contact_cache.take(claim.id)
        return await self._contacts.find(claim.client, claim.ext_user_id, claim.channel, earlier)


def _rejection_reason(claim: Claim, lookup: LookupResult) -> str:
    if claim.preview:
        return "its preview recipient is no longer configured"
    if lookup.outcome is LookupOutcome.BLOCKED:
        return f"the user must not be contacted ({lookup.blocked})"
    if lookup.outcome is LookupOutcome.UNKNOWN_USER:
        return "no contact source knows the user any more"
    return "the user has no usable address any more"


def _log_lost_claim(claim: Claim, result: SendResult) -> None:
    _log.warning("claim_lost", message=claim.id, state=result.state.value)


def _log_not_recorded(claim: Claim, error: StoreError, _last: bool) -> None:
    _log.warning("result_not_stored_yet", message=claim.id, reason=str(error))
