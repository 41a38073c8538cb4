"""Slots and turns: when a message may be handed to a member of its route."""

import asyncio
import time
from collections.abc import Callable

from gatepost.delivery.routes import Member, RouteMember
from gatepost.errors import StoreError
from gatepost.outbox import Outbox
from gatepost.outbox.turns import CLAIM_INTERVAL, replace_turns, take_turns

MAX_TURN_WAIT = 5.0
"""Seconds for which a message that missed its turn asks for another one, while another transaction has the turns."""

TURN_TOLERANCE = 0.05
"""Seconds by which a send may be later than its turn. A message that is later takes another turn."""


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


async def reach_turn(outbox: Outbox, member: RouteMember, turn_at: float, clock: Callable[[], float]) -> bool:
    """Wait until a message that is ready may be sent: at its turn, or at a later one if it is late for that.

    Return False, and the slot is free again, where the store gave no later turn.
    """
    await wait_for_turn(member, turn_at - clock())
    # Several late sends would begin together, and exceed the rate.
    while member.rate and clock() - turn_at > TURN_TOLERANCE:
        wait = await new_turn_in(outbox, member)
        if wait is None:
            return False
        turn_at = clock() + wait
        await wait_for_turn(member, wait)
    return True
