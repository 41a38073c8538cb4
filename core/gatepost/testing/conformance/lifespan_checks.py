"""Checks of opening and closing a plugin, and of ping."""

import asyncio
import contextlib

from gatepost.plugin_host.discovery import implements
from gatepost.testing.conformance import assertions
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.conformance.running_plugin import RunningPlugin, describe, wait_until
from gatepost.testing.features import FailureMode


async def assert_closed(running: RunningPlugin) -> None:
    """Raise AssertionError unless the plugin's tasks and threads end and its sockets close within CALL_TIMEOUT."""
    recorder = running.recorder
    await wait_until(
        lambda: not recorder.running_tasks(),
        lambda: f"these tasks still run: {', '.join(recorder.running_tasks())}",
    )
    await wait_until(
        lambda: not recorder.running_threads(),
        lambda: f"these threads still run: {', '.join(recorder.running_threads())}",
    )
    await wait_until(
        lambda: not recorder.open_sockets(),
        lambda: f"{recorder.open_sockets()} of its sockets are still open",
    )


class _ForeignError(Exception):
    """An error of other code while a plugin is open."""


@check(Group.LIFESPAN, standalone=True)
async def opens_and_closes(harness: Harness) -> None:
    """Open, and leave no running task or thread and no open socket after it has closed.

    Cancel and await your tasks, and close your clients, in a `finally` of the lifespan.
    """
    async with harness.run_plugin() as running:
        await _use(harness, running)
    await assert_closed(running)


@check(Group.LIFESPAN, standalone=True)
async def background_exits(harness: Harness) -> None:
    """Never raise SystemExit in a task: it would end the gateway.

    Call no sys.exit(), and catch SystemExit where a library raises it.
    """
    async with harness.run_plugin() as running:
        await _use(harness, running)
    assert not running.recorder.exits, f"a task raised SystemExit: {', '.join(running.recorder.exits)}"


@check(Group.LIFESPAN, standalone=True)
async def two_instances(harness: Harness) -> None:
    """Run two instances side by side and one after the other: the end of one does not affect the other.

    Keep everything in the instance: nothing in the class, in a module or in a shared client.
    """
    async with harness.run_plugin() as outer:
        async with harness.run_plugin() as inner:
            await _use(harness, inner)
        await _use(harness, outer)
    async with harness.run_plugin() as later:
        await _use(harness, later)


@check(Group.LIFESPAN, standalone=True)
async def error_inside(harness: Harness) -> None:
    """Pass on an error inside the lifespan, and close everything.

    Close in a `finally`, and catch no error around the `yield`.
    """
    opened: list[RunningPlugin] = []
    with contextlib.suppress(_ForeignError):
        await _raise_inside(harness, opened)
        raise AssertionError("the lifespan swallowed an error that was not its own")
    await assert_closed(opened[0])


async def _raise_inside(harness: Harness, opened: list[RunningPlugin]) -> None:
    async with harness.run_plugin() as running:
        opened.append(running)
        await _use(harness, running)
        raise _ForeignError


@check(Group.LIFESPAN, standalone=True)
async def cancelled(harness: Harness) -> None:
    """Pass on a cancellation inside the lifespan, and close everything.

    Close in a `finally`, and let CancelledError pass.
    """
    opened: list[RunningPlugin] = []

    async def stay_open() -> None:
        async with harness.run_plugin() as running:
            opened.append(running)
            await asyncio.Event().wait()

    task = asyncio.create_task(stay_open())
    await wait_until(lambda: bool(opened) or task.done(), lambda: "the lifespan did not open")
    if not opened:
        await task
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled(), "the lifespan swallowed a cancellation"
    await assert_closed(opened[0])


@check(Group.LIFESPAN, standalone=True)
async def free_loop(harness: Harness) -> None:
    """Open and close without a blocking call on the event loop's thread.

    Use an async client, or make the call in asyncio.to_thread.
    """
    async with harness.run_plugin() as running:
        pass
    assertions.assert_no_blocking_calls(running)


@check(Group.LIFESPAN, FailureMode.UNREACHABLE)
async def provider_down(harness: Harness) -> None:
    """Open although no server is at the provider's port.

    Connect at the first call instead; `ping` tells the operator that the provider is away.
    """
    with harness.unreachable_table() as table:
        try:
            async with harness.run_plugin(table=table):
                pass
        except Exception as error:  # noqa: BLE001  with any error the gateway would not start
            raise AssertionError(f"the lifespan did not open: {describe(error)}") from None


async def _use(harness: Harness, running: RunningPlugin) -> None:
    """Make the plugin connect, where there is an emulated provider to connect to."""
    if harness.provider is None:
        return
    if harness.channels:
        await harness.for_channel(harness.channels[0]).send_message(running)
    elif implements(running.plugin, "ping"):
        outcome = await running.ping()
        assert outcome is None, f"ping: {describe(outcome)}"
