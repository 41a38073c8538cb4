"""Failover: which plugin of a route gets a message, and which one is next if that plugin is unavailable."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import nullcontext

from gatepost.delivery import attempt
from gatepost.delivery.attempt import InstanceAnswer
from gatepost.delivery.leases import Leases
from gatepost.delivery.planner import Paused, is_paused
from gatepost.delivery.replay import PAUSES, Replays, repeat_until
from gatepost.delivery.routes import RouteMember, SendingRoute
from gatepost.delivery.slots import reach_turn, take_slot
from gatepost.errors import SendError, Unavailable, Uncertain
from gatepost.model import Email, Receipt, Secret, Sms
from gatepost.observe import logs
from gatepost.observe.metrics import Metrics
from gatepost.observe.redaction import redaction_scope
from gatepost.outbox import Claim, Outbox, Try
from gatepost.outbox.warmup_steps import Place

REPEATED = "repeated after an uncertain answer"
"""Why an instance was chosen that had the message a moment ago."""

_log = logs.get(__name__)


class Delivery:
    """The state of one claim from its beginning to its result."""

    __slots__ = (
        "answer",
        "claim",
        "content",
        "expires_at",
        "lacking",
        "places",
        "private",
        "sending",
        "template",
        "tried_at",
        "tries",
    )

    def __init__(self, claim: Claim, now: float) -> None:
        self.claim = claim
        self.expires_at = now + claim.lifetime
        """When its lifetime ends, by the worker's clock."""
        self.tried_at = now
        """When the last try ended; before the first one, when the message was claimed."""
        self.sending = ""
        """The name of the instance that is sending the message now; empty while none is."""
        self.answer: InstanceAnswer | None = None
        """The last answer of an instance."""
        self.tries: list[Try] = []
        """The tries so far."""
        self.places: list[Place] = []
        """The places that were taken for it, of members that warm up."""
        self.content = b""
        """The content to store for the next attempt; empty: the stored content stays."""
        self.template = ""
        """The subject or text as it is stored, without the values of merge fields."""
        self.private: Sequence[Secret] = ()
        """Values in the message that are in none of the contact's attributes in this form."""
        self.lacking: Sequence[str] = ()
        """Names of attributes that merge fields were to show and the contact lacks."""

    @property
    def unused_places(self) -> list[Place]:
        """The places with which nothing was sent: a send that the instance did not take does not count."""
        sent = {one.instance for one in self.tries if one.outcome != "unavailable"}
        # A message has one place of an instance at a time: a later one replaces that of a period that has ended.
        used = {one.instance: one for one in self.places if one.instance in sent}
        return [one for one in self.places if used.get(one.instance) is not one]


class Failover:
    """Sends messages through the members of a route."""

    def __init__(
        self,
        outbox: Outbox,
        leases: Leases,
        metrics: Metrics,
        clock: Callable[[], float],
        paused: Paused,
        stopping: asyncio.Event,
    ) -> None:
        self._outbox = outbox
        self._paused = paused
        self._leases = leases
        self._metrics = metrics
        self._clock = clock
        self._replays = Replays(outbox, leases, clock, paused, stopping)

    async def send(
        self, delivery: Delivery, message: Email | Sms, first: RouteMember, route: SendingRoute
    ) -> InstanceAnswer:
        """Try one member after the other until one gives an answer other than Unavailable.

        ``first`` has a slot and a turn for the message already.
        """
        choice = route.choice(first, delivery.claim.country, self._clock())
        answer = await self._send(first, delivery, route.for_member(message, first), choice)
        for member in route.members_after(first):
            if not isinstance(answer.answer, Unavailable):
                break
            if is_paused(self._paused, delivery.claim.queue, member.name):
                continue
            slot = await take_slot(self._outbox, member, self._clock())
            if slot is None:
                continue
            delivery.places += filter(None, [slot.place])
            # The lease was measured for the first member, which may be much faster than this one.
            self._leases.hold(delivery.claim, member.lease, renew_in=0.0)
            turn_at = self._clock() + slot.wait
            if not await reach_turn(self._outbox, member, turn_at, delivery.places, self._clock):
                continue
            choice = f"after {answer.instance} was unavailable"
            another = attempt.with_another_key(message, len(delivery.tries))
            answer = await self._send(member, delivery, route.for_member(another, member), choice)
        return answer

    async def _send(
        self, member: RouteMember, delivery: Delivery, message: Email | Sms, choice: str
    ) -> InstanceAnswer:
        """Hand the message to this member, and repeat that where its provider drops repeats; return what counts."""
        first_at = self._clock()
        answer = await self._try(member, delivery, message, choice)
        if not (member.instance.replay_safe and isinstance(answer.answer, Uncertain)):
            return answer
        until = repeat_until(member, first_at, delivery.expires_at)
        for pause in PAUSES:
            member.throttle.keep_slot()
            if not await self._replays.wait(delivery.claim, member, pause, until):
                break
            repeated = await self._try(member, delivery, message, REPEATED)
            if isinstance(repeated.answer, Unavailable):
                # That says nothing about the first try.
                delivery.answer = answer
                continue
            answer = repeated
            if not isinstance(answer.answer, Uncertain):
                break
        return answer

    async def _try(
        self, member: RouteMember, delivery: Delivery, message: Email | Sms, choice: str
    ) -> InstanceAnswer:
        """Hand the message to this member and record its answer; free its slot in any case."""
        name = member.instance.name
        if is_paused(self._paused, delivery.claim.queue, member.name):
            member.throttle.release()
            return InstanceAnswer(name, Unavailable("an operator paused it"))
        answer: Receipt | SendError | None = None
        delivery.sending = name
        start = self._clock()
        self._note_wait(delivery, start)
        try:
            with redaction_scope(*delivery.private) if delivery.private else nullcontext():
                answer = await member.instance.send(message)
        except SendError as error:
            answer = error
        finally:
            if answer is None:
                answer = Uncertain("interrupted while it was being sent")
            failure = answer if isinstance(answer, SendError) else None
            now = self._clock()
            content_key = attempt.content_key(delivery.claim, message, delivery.template)
            member.throttle.end(now, failure, content_key)
            pause = start - delivery.tried_at if delivery.tries else 0.0
            delivery.tries.append(
                attempt.try_record(
                    name, message, answer, now - start, choice, pause, delivery.template, delivery.lacking
                )
            )
            delivery.tried_at = now
            self._count(delivery.claim, InstanceAnswer(name, answer), now - start)
        if failure is not None:
            _log_failure(name, message.id, failure)
        delivery.sending, delivery.answer = "", InstanceAnswer(name, answer)
        return delivery.answer

    def _count(self, claim: Claim, answer: InstanceAnswer, seconds: float) -> None:
        """Count a try that took so many seconds, and record its span."""
        name, received = answer
        outcome = attempt.outcome_label(received)
        self._metrics.count(self._metrics.sends, name, outcome)
        self._metrics.send_duration.observe(seconds, name)
        self._outbox.trail.tracing.sent(
            claim.id,
            client=claim.client,
            channel=claim.channel.value,
            instance=name,
            outcome=outcome,
            code=received.code if isinstance(received, SendError) else "",
            seconds=seconds,
        )

    def _note_wait(self, delivery: Delivery, start: float) -> None:
        """Note how long a message has waited for its first try, which begins now."""
        claim = delivery.claim
        if claim.waited is not None and not delivery.tries:
            waited = claim.waited + start - delivery.tried_at
            self._metrics.queue_wait.observe(max(0.0, waited), claim.channel.value)


def _log_failure(instance: str, message_id: str, failure: SendError) -> None:
    is_error = isinstance(failure, Unavailable) and failure.misconfigured
    (_log.error if is_error else _log.warning)(
        f"send_{attempt.outcome_label(failure)}",
        instance=instance,
        message=message_id,
        reason=failure.reason,
        code=failure.code,
    )
