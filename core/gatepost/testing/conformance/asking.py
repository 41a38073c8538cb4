"""Asking a plugin for something that can't be had, or is not wanted any more."""

import asyncio
from collections.abc import Awaitable, Callable

from gatepost.errors import Unavailable
from gatepost.testing.conformance import bench as benches
from gatepost.testing.conformance.bench import SHORT_TIMEOUTS, TIMEOUT, Bench, Live, described
from gatepost.testing.conformance.provider import Trouble
from gatepost.testing.conformance.watching import everything_in, found_in

Ask = Callable[[Live], Awaitable[object]]


async def unavailable(bench: Bench, trouble: Trouble, ask: Ask, then: Ask | None = None) -> Unavailable:
    """What an open plugin raises under this trouble; ``then`` is asked when that is over.

    AssertionError unless it is Unavailable, with no secret in it.
    """
    problem = ""
    for seconds in SHORT_TIMEOUTS if trouble is Trouble.HANG else (TIMEOUT,):
        async with bench.live(seconds=seconds) as live:
            with bench.playing(trouble):
                error = _judged(bench, await ask(live), trouble)
            problem = await _problem(then, live)
        if not problem:
            return error
    raise AssertionError(f"once that is over: {problem}")


async def denied(bench: Bench, ask: Ask, then: Ask | None = None) -> None:
    """AssertionError unless a refused key is said to be for the operator to mend."""
    error = await unavailable(bench, Trouble.DENY, ask, then)
    assert error.misconfigured, "the operator has to mend it: misconfigured=True"


async def nobody_listens(bench: Bench, ask: Ask) -> None:
    """AssertionError unless a provider where nobody listens is Unavailable."""
    with bench.nobody_listening() as table:
        async with bench.live(table=table) as live:
            _judged(bench, await ask(live), "nobody listens")


async def cancelled(task: "asyncio.Task[object]") -> None:
    """Cancel a call; AssertionError unless it ends as cancelled, where it had not ended by itself."""
    late = task.done()
    task.cancel()
    await asyncio.wait({task}, timeout=benches.RELEASE)
    assert task.done(), "it ignores its cancellation"
    if not late:
        assert task.cancelled(), f"cancelled, {described(task.exception() or task.result())}"


async def _problem(then: Ask | None, live: Live) -> str:
    try:
        if then:
            await then(live)
    except AssertionError as error:
        return str(error)
    return ""


def _judged(bench: Bench, outcome: object, what: str) -> Unavailable:
    assert isinstance(outcome, Unavailable), f"{what}: {described(outcome)} instead of raising Unavailable"
    assert not found_in(everything_in(outcome), bench.secrets()), f"{what}: the error holds a secret"
    return outcome
