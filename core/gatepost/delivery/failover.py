"""Failover: which plugin of a route gets a message, and which one is next if that plugin is unavailable."""

import asyncio
import time
from collections.abc import Callable

from gatepost.delivery import attempt
from gatepost.delivery.attempt import InstanceAnswer
from gatepost.delivery.leases import Leases
from gatepost.delivery.planner import Paused, never_paused
from gatepost.delivery.routes import Member, RouteMember, SendingRoute
from gatepost.errors import SendError, StoreError, Unavailable, Uncertain
from gatepost.model import Email, Receipt, Sms
from gatepost.observe import logs
from gatepost.observe.metrics import Metrics
from gatepost.outbox import Claim, Outbox, Try
from gatepost.outbox.turns import CLAIM_INTERVAL, replace_turns, take_turns

MAX_TURN_WAIT = 5.0
"""Seconds for which a message that missed its turn asks for another one, while another transaction has the turns."""

TURN_TOLERANCE = 0.05
"""Seconds by which a send may be later than its turn. A message that is later takes another turn."""

_log = logs.get(__name__)


class Delivery:
    """The state of one claim from its beginning to its result."""

    __slots__ = ("answer", "claim", "content", "sending", "tries")

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.sending = ""
        """The name of the instance that is sending the message now; empty while none is."""
        self.answer: InstanceAnswer | None = None
        """The last answer of an instance."""
        self.tries: list[Try] = []
        """The tries so far."""
        self.content = b""
        """The content to store for the next attempt; empty: the stored content stays."""


async def take_slot(outbox: Outbox, member: Member, now: float) -> float | None:
    """Take a slot and a turn; return the seconds until that turn, None where a slot or a turn is missing."""
    if not member.throttle.sends_allowed(now):
        return None
    wait = member.throttle.begin(now)
    shared = await shared_turn_in(outbox, member)
    return None if shared is None else max(wait, shared)


async def shared_turn_in(outbox: Outbox, member: Member) -> float | None:
    """Take a turn of a member that has a slot, where the replicas share its rate; return the seconds until then.

    None where there is no turn soon, or the store does not answer; then the slot is free again.
    """
    if member.rate is None:
        return 0.0
    turn = None
    try:
        turn = await outbox.change(take_turns, member.rate)
    except StoreError:
        return None
    finally:
        if turn is None:
            member.throttle.release()
    return None if turn is None else turn - time.monotonic()


async def _new_turn_in(outbox: Outbox, member: RouteMember) -> float | None:
    """Take another turn of a member that has a slot, for a message that was not ready at its first one.

    Return the seconds until then; None, and the slot is free again, where the store gave no turn for MAX_TURN_WAIT
    seconds.
    """
    assert member.rate is not None
    turn: float | None = None
    deadline = time.monotonic() + MAX_TURN_WAIT
    try:
        while turn is None and time.monotonic() < deadline:
            try:
                turn = await outbox.change(replace_turns, member.rate)
            except StoreError:
                break
            if turn is None:
                await asyncio.sleep(CLAIM_INTERVAL / 1000)
    finally:
        if turn is None:
            member.throttle.release()
    return None if turn is None else turn - time.monotonic()


async def wait_for_turn(member: Member, seconds: float) -> None:
    """Wait for a turn, ``seconds`` from now; free the slot of the member when cancelled meanwhile."""
    if seconds <= 0:
        return
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        member.throttle.release()
        raise


async def reach_turn(outbox: Outbox, member: RouteMember, turn_at: float, clock: Callable[[], float]) -> bool:
    """Wait until a message that is ready may be sent: at its turn, or at a later one if it is late for that.

    Return False, and the slot is free again, where the store gave no later turn.
    """
    await wait_for_turn(member, turn_at - clock())
    # Several late sends would begin together, and exceed the rate.
    while member.rate and clock() - turn_at > TURN_TOLERANCE:
        wait = await _new_turn_in(outbox, member)
        if wait is None:
            return False
        turn_at = clock() + wait
        await wait_for_turn(member, wait)
    return True


class Failover:
    """Sends messages through the members of a route."""

    def __init__(
        self,
        outbox: Outbox,
        leases: Leases,
        metrics: Metrics,
        clock: Callable[[], float],
        paused: Paused = never_paused,
    ) -> None:
        self._outbox = outbox
        self._paused = paused
        self._leases = leases
        self._metrics = metrics
        self._clock = clock

    async def send(
        self, delivery: Delivery, message: Email | Sms, first: RouteMember, route: SendingRoute
    ) -> InstanceAnswer:
        """Try one member after the other until one gives an answer other than Unavailable.

        ``first`` has a slot and a turn for the message already.
        """
        choice = route.choice(first, delivery.claim.country, self._clock())
        answer = await self._try(first, delivery, route.for_member(message, first), choice)
        for member in route.members_after(first):
            if not isinstance(answer.answer, Unavailable):
                break
            if self._is_paused(delivery.claim, member):
                continue
            wait = await take_slot(self._outbox, member, self._clock())
            if wait is None:
                continue
            # The lease was measured for the first member, which may be much faster than this one.
            self._leases.hold(delivery.claim, member.lease, renew_in=0.0)
            await wait_for_turn(member, wait)
            choice = f"after {answer.instance} was unavailable"
            answer = await self._try(member, delivery, route.for_member(message, member), choice)
        return answer

    def _is_paused(self, claim: Claim, member: Member) -> bool:
        """Return whether an operator has paused this message, or the member for it, perhaps since it was claimed."""
        return self._paused(claim.queue, "") or self._paused(claim.queue, member.name)

    async def _try(
        self, member: RouteMember, delivery: Delivery, message: Email | Sms, choice: str
    ) -> InstanceAnswer:
        """Hand the message to this member and record its answer; free its slot in any case."""
        name = member.instance.name
        if self._is_paused(delivery.claim, member):
            member.throttle.release()
            return InstanceAnswer(name, Unavailable("an operator paused it"))
        answer: Receipt | SendError | None = None
        delivery.sending = name
        start = self._clock()
        try:
            answer = await member.instance.send(message)
        except SendError as error:
            answer = error
        finally:
            if answer is None:
                answer = Uncertain("interrupted while it was being sent")
            failure = answer if isinstance(answer, SendError) else None
            now = self._clock()
            member.throttle.end(now, failure, attempt.content_key(delivery.claim, message))
            delivery.tries.append(attempt.try_record(name, answer, now - start, choice))
            self._metrics.sends.labels(name, attempt.outcome_label(answer)).inc()
        if failure is not None:
            _log_failure(name, message.id, failure)
        delivery.sending, delivery.answer = "", InstanceAnswer(name, answer)
        return delivery.answer


def _log_failure(instance: str, message_id: str, failure: SendError) -> None:
    is_error = isinstance(failure, Unavailable) and failure.misconfigured
    (_log.error if is_error else _log.warning)(
        f"send_{attempt.outcome_label(failure)}",
        instance=instance,
        message=message_id,
        reason=failure.reason,
        code=failure.code,
    )
