"""Slots, turns and places: when a message may be handed to a member of its route."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from gatepost.delivery.routes import Member, RouteMember, is_full
from gatepost.errors import StoreError
from gatepost.outbox import Outbox
from gatepost.outbox.turns import CLAIM_INTERVAL, replace_turns, take_turns
from gatepost.outbox.warmup_steps import Place
from gatepost.outbox.warmups import take_places

MAX_TURN_WAIT = 5.0
"""Seconds for which a message that missed its turn asks for another one, while another transaction has the turns."""

TURN_TOLERANCE = 0.05
"""Seconds by which a send may be later than its turn. A message that is later takes another turn."""


class SlotTaken(NamedTuple):
    """A slot of a member, with what else a send needs."""

    wait: float
    """Seconds until its turn."""
    place: Place | None
    """None where the member does not warm up."""


async def take_slot(outbox: Outbox, member: Member, now: float) -> SlotTaken | None:
    """Take a slot, a turn and, where the member warms up, a place; None where any of them is missing."""
    if is_full(member, now) or not member.throttle.sends_allowed(now):
        return None
    wait = member.throttle.begin(now)
    shared = await shared_turn_in(outbox, member)
    if shared is None:
        return None
    place = await _new_place(outbox, member)
    return None if member.warmup and place is None else SlotTaken(max(wait, shared), place)


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


async def _new_place(outbox: Outbox, member: Member) -> Place | None:
    """Take a place of a member that has a slot and warms up; None, and the slot is free again, where there is none."""
    if member.warmup is None:
        return None
    place = None
    with suppress(StoreError):
        try:
            place = await outbox.change(take_places, member.warmup.plan)
        finally:
            if place is None:
                member.throttle.release()
    return place


async def new_turn_in(outbox: Outbox, member: RouteMember) -> float | None:
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


async def reach_turn(
    outbox: Outbox, member: RouteMember, turn_at: float, places: list[Place], clock: Callable[[], float]
) -> bool:
    """Wait until a message that is ready may be sent: at its turn, or at a later one if it is late for that.

    A member that warms up has the last of the ``places`` for it. If the period of that has ended, another one is taken and
    added. Return False, and the slot is free again, where the store gave no later turn or no place.
    """
    await wait_for_turn(member, turn_at - clock())
    # Several late sends would begin together, and exceed the rate.
    while member.rate and clock() - turn_at > TURN_TOLERANCE:
        wait = await new_turn_in(outbox, member)
        if wait is None:
            return False
        turn_at = clock() + wait
        await wait_for_turn(member, wait)
    while member.warmup and time.monotonic() >= places[-1].until:
        place = await _new_place(outbox, member)
        if place is None:
            return False
        places.append(place)
    return True
