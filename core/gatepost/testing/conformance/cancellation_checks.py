"""Checks of sends that are cancelled or fail often: afterwards the plugin holds nothing of theirs."""

import asyncio
from typing import Any

from gatepost.testing.conformance import running_plugin
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.lifespan_checks import assert_closed
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.conformance.running_plugin import (
    RunningPlugin,
    describe,
    gather,
    sending_hook,
    wait_until,
)
from gatepost.testing.conformance.send_checks import assert_delivered_once
from gatepost.testing.features import FailureMode


@check(Group.SEND, FailureMode.HANG)
async def cancelled(harness: Harness) -> None:
    """End as cancelled, at once, when a send is cancelled while it waits for the answer.

    Let CancelledError pass: catch it only to clean up, and raise it again.
    """
    async with harness.run_plugin() as running:
        with harness.failing(FailureMode.HANG):
            await _send_and_cancel(harness, running, 1)


@check(Group.SEND, FailureMode.HANG)
async def after_cancelled(harness: Harness) -> None:
    """Send a message after cancelled ones whole, once, to its own recipient.

    Close the connection of a cancelled send, and have no queue of your own.
    """
    async with harness.run_plugin(concurrency=2) as running:
        with harness.failing(FailureMode.HANG):
            given_up = await _send_and_cancel(harness, running, 2)
        messages = [(await harness.send_message(running))[0] for _ in range(3)]
    for message in messages:
        assert_delivered_once(harness, message, [*messages, *given_up])
    for message in given_up:
        assert not harness.received(message.id), "a message that was cancelled was sent later"


@check(Group.SEND, FailureMode.HANG)
async def cancelled_releases(harness: Harness) -> None:
    """Leave no task and no socket of cancelled sends after it has closed.

    Cancel and await in a `finally` whatever the send has started.
    """
    async with harness.run_plugin(concurrency=3) as running:
        with harness.failing(FailureMode.HANG):
            await _send_and_cancel(harness, running, 3)
    await assert_closed(running)


@check(Group.SEND, FailureMode.OUTAGE)
async def many_failures(harness: Harness) -> None:
    """Lose no connection by failures: send a message after three times as many failures as connections.

    Give each connection back, or close it, in a `finally`.
    """
    async with harness.run_plugin(concurrency=2) as running:
        with harness.failing(FailureMode.OUTAGE):
            await gather([running.send(harness.message(FailureMode.OUTAGE)) for _ in range(2)])
            for _ in range(4):
                await running.send(harness.message(FailureMode.OUTAGE))
        await harness.send_message(running)


async def _send_and_cancel(harness: Harness, running: RunningPlugin, count: int) -> list[Any]:
    """Cancel ``count`` sends once the provider has begun to read them all; return their messages."""
    provider = harness.emulated_provider
    begun = provider.attempts + count
    messages = [harness.message(FailureMode.HANG) for _ in range(count)]
    tasks = [running.begin(sending_hook(message), message) for message in messages]
    try:
        await wait_until(
            lambda: provider.attempts >= begun or any(task.done() for task in tasks),
            lambda: (
                f"the provider saw {provider.attempts - begun + count} of {count} messages sent concurrently"
            ),
        )
    finally:
        # Also where the provider has not seen them all: none may go on after the check.
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=running_plugin.CANCEL_TIMEOUT)
    assert all(task.done() for task in tasks), "a send ignores its cancellation"
    ended = [task for task in tasks if not task.cancelled()]
    assert not ended, f"a send that was cancelled did not end as cancelled: {describe(_outcome(ended[0]))}"
    return messages


def _outcome(task: "asyncio.Task[Any]") -> object:
    return task.exception() or task.result()
