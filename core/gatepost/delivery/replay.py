"""Repeats of a send whose outcome is uncertain, at a provider that drops repeats with the same key (``replay_safe``)."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress

from gatepost.delivery.leases import Leases
from gatepost.delivery.planner import Paused, is_paused
from gatepost.delivery.routes import RouteMember
from gatepost.delivery.slots import new_turn_in, wait_for_turn
from gatepost.errors import StoreError
from gatepost.outbox import Claim, Outbox
from gatepost.outbox.claims import Renewal, confirm
from gatepost.plugin_host.instances import SEND_OVERRUN
from gatepost.throttle import BreakerState

PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each repeat, at most; half of that at least, so that messages of one outage don't come together."""

MAX_PAUSE = 5.0
"""Seconds for which a repeat waits while its instance rests."""

TIMER_ERROR = 0.05
"""Seconds by which a timer may be too early."""


def repeat_until(member: RouteMember, first_at: float, expires_at: float) -> float:
    """Return the time after which no repeat begins; ``first_at`` is when the first try began.

    A repeat must be over before the provider may forget the first try, however long it takes.
    """
    instance = member.instance
    return min(first_at + instance.replay_safe - instance.settings.timeout - SEND_OVERRUN, expires_at)


class Replays:
    """Says when a message may be repeated, and waits until then."""

    def __init__(
        self,
        outbox: Outbox,
        leases: Leases,
        clock: Callable[[], float],
        paused: Paused,
        stopping: asyncio.Event,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._outbox = outbox
        self._leases = leases
        self._clock = clock
        self._paused = paused
        self._stopping = stopping
        self._uniform = uniform

    async def wait(self, claim: Claim, member: RouteMember, pause: float, until: float) -> bool:
        """Wait for about ``pause`` seconds and then for a turn; return whether the message may be repeated now.

        The member has the slot of the send before. It is free again if this returns False or is cancelled.
        """
        try:
            end = min(until, self._clock() + MAX_PAUSE)
            ready = (
                await self._pause(member, self._uniform(pause / 2, pause), end)
                and self._may_repeat(claim, member, until)
                and await self._confirm(claim, member)
            )
        except BaseException:
            member.throttle.release()
            raise
        if not ready:
            member.throttle.release()
            return False
        return await self._take_turn(claim, member, until)

    async def _pause(self, member: RouteMember, seconds: float, end: float) -> bool:
        """Wait, and then until the instance rests no more; return False where that would last until ``end``."""
        while seconds:
            if self._clock() + seconds >= end:
                return False
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), seconds)
            rest = member.throttle.rest_remaining(self._clock())
            seconds = 0.0 if self._stopping.is_set() else rest and rest + TIMER_ERROR
        return True

    async def _confirm(self, claim: Claim, member: RouteMember) -> bool:
        """Return whether the claim is still held, and extend its lease so that it outlasts the repeat."""
        try:
            held = await self._outbox.change(confirm, Renewal(claim.id, claim.attempt, member.lease))
        except StoreError:
            return False
        if held:
            self._leases.hold(claim, member.lease, renew_in=member.lease / 3)
        return held

    async def _take_turn(self, claim: Claim, member: RouteMember, until: float) -> bool:
        confirmed_at = self._clock()
        wait: float | None = member.throttle.take_turn(confirmed_at)
        if member.rate:
            wait = await new_turn_in(self._outbox, member)
        if wait is None:
            return False
        await wait_for_turn(member, wait)
        if self._may_repeat(claim, member, min(until, confirmed_at + member.lease / 3)):
            return True
        member.throttle.release()
        return False

    def _may_repeat(self, claim: Claim, member: RouteMember, until: float) -> bool:
        now = self._clock()
        return not (
            now >= until
            or self._stopping.is_set()
            or is_paused(self._paused, claim.queue, member.name)
            or member.throttle.state(now) is BreakerState.RESTING
        )
