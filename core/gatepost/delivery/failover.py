"""Failover: which plugin of a route gets a message, and which one is next if that plugin is unavailable."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gatepost.delivery import attempt
from gatepost.delivery.attempt import InstanceAnswer
from gatepost.delivery.leases import Leases, lease_for
from gatepost.errors import SendError, Unavailable, Uncertain
from gatepost.model import Email, Receipt, Sms
from gatepost.observe import logs
from gatepost.observe.metrics import Metrics
from gatepost.outbox import Claim, Try, polling
from gatepost.plugin_host.instances import Instance
from gatepost.throttle import BreakerState, Throttle

_log = logs.get(__name__)


class RouteMember(NamedTuple):
    """A sending instance and its throttle; an instance on two routes is one member of both."""

    instance: Instance
    throttle: Throttle

    @property
    def lease(self) -> float:
        """Seconds for which a claim for this member is held."""
        return lease_for(self.instance.settings.timeout)


Route = Sequence[RouteMember]
"""The members of one channel's route, in the order in which they are tried."""


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


def first_usable(route: Route, now: float) -> RouteMember | None:
    """Return the first member that works, also where it has no free slot: a busy member is waited for."""
    for member in route:
        state = member.throttle.state(now)
        if state is BreakerState.USABLE or (
            state is BreakerState.PROBING and member.throttle.sends_allowed(now)
        ):
            return member
    return None


def next_claim_in(members: Route, now: float) -> float:
    """Return the seconds until one of the members may send again, and at most POLL_INTERVAL."""
    waits = [wait for member in members if (wait := member.throttle.next_allowed_in(now)) is not None]
    return min([polling.POLL_INTERVAL, *waits])


async def wait_for_turn(member: RouteMember, seconds: float) -> None:
    """Wait for a turn, ``seconds`` from now; free the slot of the member when cancelled meanwhile."""
    if seconds <= 0:
        return
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        member.throttle.release()
        raise


class Failover:
    """Sends messages through the members of a route."""

    def __init__(self, leases: Leases, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._leases = leases
        self._metrics = metrics
        self._clock = clock

    async def send(
        self, delivery: Delivery, message: Email | Sms, first: RouteMember, route: Route
    ) -> InstanceAnswer:
        """Try one member after the other until one gives an answer other than Unavailable.

        ``first`` has a slot and a turn for the message already.
        """
        answer = await self._try(first, delivery, message)
        for member in route[route.index(first) + 1 :]:
            if not isinstance(answer.answer, Unavailable):
                break
            now = self._clock()
            if not member.throttle.sends_allowed(now):
                continue
            # The lease was measured for the first member, which may be much faster than this one.
            self._leases.hold(delivery.claim, member.lease, renew_in=0.0)
            await wait_for_turn(member, member.throttle.begin(now))
            answer = await self._try(member, delivery, message)
        return answer

    async def _try(self, member: RouteMember, delivery: Delivery, message: Email | Sms) -> InstanceAnswer:
        """Hand the message to this member and record its answer; free its slot in any case."""
        name = member.instance.name
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
            delivery.tries.append(attempt.try_record(name, answer, now - start))
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
