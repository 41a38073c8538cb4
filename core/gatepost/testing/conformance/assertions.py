"""Assertions that the checks of several hooks share: a provider that fails, and a call that is cancelled."""

import asyncio
from collections.abc import Awaitable, Callable

from gatepost.errors import Unavailable
from gatepost.testing.conformance import running_plugin
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.leaks import contains_any, text_of
from gatepost.testing.conformance.running_plugin import SHORT_TIMEOUTS, TIMEOUT, RunningPlugin, describe
from gatepost.testing.features import FailureMode

Call = Callable[[RunningPlugin], Awaitable[object]]
"""A call of a hook; returns the hook's outcome."""


async def assert_unavailable(
    harness: Harness, failure: FailureMode, call: Call, afterwards: Call | None = None
) -> Unavailable:
    """Return the Unavailable that a call raises while the provider fails; AssertionError for anything else.

    The error must hold no secret. ``afterwards`` is called once the provider works again.
    """
    problem = ""
    for timeout in SHORT_TIMEOUTS if failure is FailureMode.HANG else (TIMEOUT,):
        async with harness.run_plugin(timeout=timeout) as running:
            with harness.failing(failure):
                error = _unavailable(harness, await call(running), failure)
            problem = await _problem(afterwards, running)
        if not problem:
            return error
    raise AssertionError(f"once the provider works again: {problem}")


async def assert_lookup_deadline(harness: Harness, call: Call, afterwards: Call) -> None:
    """Raise AssertionError unless a lookup is Unavailable after `lookup_timeout`, although `timeout` is far longer."""
    problem = ""
    for timeout in SHORT_TIMEOUTS:
        async with harness.run_plugin(
            timeout=10 * running_plugin.CALL_TIMEOUT, lookup_timeout=timeout
        ) as running:
            with harness.failing(FailureMode.HANG):
                _unavailable(harness, await call(running), FailureMode.HANG)
            problem = await _problem(afterwards, running)
        if not problem:
            return
    raise AssertionError(f"once the provider works again: {problem}")


async def assert_misconfigured(harness: Harness, call: Call, afterwards: Call | None = None) -> None:
    """Raise AssertionError unless a refused key is Unavailable with misconfigured=True."""
    error = await assert_unavailable(harness, FailureMode.DENY, call, afterwards)
    assert error.misconfigured, "only the operator can correct it: misconfigured=True"


async def assert_unreachable(harness: Harness, call: Call) -> None:
    """Raise AssertionError unless a provider without a server is Unavailable."""
    with harness.unreachable_table() as table:
        async with harness.run_plugin(table=table) as running:
            _unavailable(harness, await call(running), "no server")


async def assert_cancellable(task: "asyncio.Task[object]") -> None:
    """Cancel a call; raise AssertionError unless it ends as cancelled, or had ended before."""
    ended = task.done()
    task.cancel()
    await asyncio.wait({task}, timeout=running_plugin.CANCEL_TIMEOUT)
    assert task.done(), "it ignores its cancellation"
    if not ended:
        assert task.cancelled(), f"cancelled, {describe(task.exception() or task.result())}"


async def _problem(call: Call | None, running: RunningPlugin) -> str:
    try:
        if call:
            await call(running)
    except AssertionError as error:
        return str(error)
    return ""


def _unavailable(harness: Harness, outcome: object, what: str) -> Unavailable:
    assert isinstance(outcome, Unavailable), f"{what}: {describe(outcome)} instead of raising Unavailable"
    assert not contains_any(text_of(outcome), harness.secrets()), f"{what}: the error holds a secret"
    return outcome


def assert_no_blocking_calls(running: RunningPlugin) -> None:
    """Raise AssertionError where the plugin's code has made a blocking call on the event loop's thread."""
    calls = ", ".join(sorted(set(running.recorder.blocking_calls)))
    assert not calls, f"it makes calls that block the event loop ({calls}): make them in asyncio.to_thread"
