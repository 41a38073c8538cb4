"""Sending that is cancelled or fails often: what a plugin must have let go of by then."""

import asyncio
from typing import Any

from gatepost.testing.conformance import bench as benches
from gatepost.testing.conformance.bench import Bench, Live, described, gathered, sending_hook, until
from gatepost.testing.conformance.lifespan_checks import nothing_left
from gatepost.testing.conformance.provider import Trouble
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.conformance.send_checks import belongs


@check(Group.SEND, Trouble.HANG)
async def cancelled(bench: Bench) -> None:
    """Cancelled while it waits for the answer, it ends as cancelled, at once."""
    async with bench.live() as live:
        with bench.playing(Trouble.HANG):
            await _cancel(bench, live, 1)


@check(Group.SEND, Trouble.HANG)
async def after_cancel(bench: Bench) -> None:
    """The message after some that were cancelled goes out whole, once, to its own recipient."""
    async with bench.live(concurrency=2) as live:
        with bench.playing(Trouble.HANG):
            given_up = await _cancel(bench, live, 2)
        messages = [(await bench.delivered(live))[0] for _ in range(3)]
    for message in messages:
        belongs(bench, message, [*messages, *given_up])
    for message in given_up:
        assert not bench.stand_in.taken(message.id), "a message that was cancelled was sent later on"


@check(Group.SEND, Trouble.HANG)
async def cancel_leaves_nothing(bench: Bench) -> None:
    """Of sends that were cancelled no task and no socket is left once it is closed."""
    async with bench.live(concurrency=3) as live:
        with bench.playing(Trouble.HANG):
            await _cancel(bench, live, 3)
    await nothing_left(live)


@check(Group.SEND, Trouble.OUTAGE)
async def many_failures(bench: Bench) -> None:
    """Failures use nothing up: after three times as many as it has connections, the next one is sent."""
    async with bench.live(concurrency=2) as live:
        with bench.playing(Trouble.OUTAGE):
            await gathered([live.send(bench.message(Trouble.OUTAGE)) for _ in range(2)])
            for _ in range(4):
                await live.send(bench.message(Trouble.OUTAGE))
        await bench.delivered(live)


async def _cancel(bench: Bench, live: Live, count: int) -> list[Any]:
    """Cancel so many sends once the provider has begun to read them all; returns their messages."""
    begun = bench.stand_in.attempts + count
    messages = [bench.message(Trouble.HANG) for _ in range(count)]
    tasks = [live.begin(sending_hook(message), message) for message in messages]
    await until(
        lambda: bench.stand_in.attempts >= begun or any(task.done() for task in tasks),
        lambda: (
            f"of {count} messages sent at once the provider saw {bench.stand_in.attempts - begun + count}"
        ),
    )
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=benches.RELEASE)
    assert all(task.done() for task in tasks), "a send ignores its cancellation"
    ended = [task for task in tasks if not task.cancelled()]
    assert not ended, f"a send that was cancelled did not end as cancelled: {described(_ending(ended[0]))}"
    return messages


def _ending(task: "asyncio.Task[Any]") -> object:
    return task.exception() or task.result()
