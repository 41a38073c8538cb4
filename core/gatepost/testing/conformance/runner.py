"""The checks run on a plugin, by pytest or by a command. One cause is one failure: what builds on it is not judged."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager
from enum import StrEnum

import msgspec

from gatepost.errors import ConfigError
from gatepost.model import Secret
from gatepost.observe import redaction
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.registry import Case, Group

MakeHarness = Callable[[], AbstractAsyncContextManager[Harness]]
"""Makes a harness with an emulated provider of its own, for one case."""


class CaseOutcome(StrEnum):
    """What became of a case."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_JUDGED = "not judged"
    """A check that it builds on has failed."""


class CaseResult(msgspec.Struct, frozen=True):
    """The result of one case."""

    case: Case
    outcome: CaseOutcome
    problem: str = ""
    """What is wrong, in a line; holds no secret, address or number of the harness."""
    cause: str = ""
    """The id of the case that must be mended first, where this one was not judged."""
    error: BaseException | None = None
    """What the check raised, with its traceback, for the plugin's author alone: its text may hold anything."""


async def run_cases(cases: Mapping[str, Case], make_harness: MakeHarness) -> AsyncIterator[CaseResult]:
    """Run the cases in order, each on a harness of its own, and yield each result."""
    judged: dict[str, CaseResult] = {}
    for case in cases.values():
        async with make_harness() as harness:
            result = await judge(case, harness, cases, judged)
        judged[case.id] = result
        yield result


async def judge(
    case: Case, harness: Harness, cases: Mapping[str, Case], judged: MutableMapping[str, CaseResult]
) -> CaseResult:
    """Run one case; where it fails, find out whether one that it builds on is the cause.

    ``cases`` are all that can be run. ``judged`` remembers the results of those that others build on.
    """
    error = await error_of(case, harness)
    if error is None:
        return CaseResult(case, CaseOutcome.PASSED)
    problem = describe_problem(error, harness)
    for name in _builds_on(case):
        if name in cases and name != case.id:
            if name not in judged:
                judged[name] = await judge(cases[name], harness, cases, judged)
            if judged[name].outcome is not CaseOutcome.PASSED:
                return CaseResult(case, CaseOutcome.NOT_JUDGED, problem, judged[name].cause or name, error)
    return CaseResult(case, CaseOutcome.FAILED, problem, error=error)


def _builds_on(case: Case) -> list[str]:
    """Return the ids of the cases that this one builds on; of sending, those of the same channel, or of any."""
    found = []
    for name in case.check.after:
        if not name.startswith(f"{Group.SEND}."):
            found.append(name)
        elif case.channel:
            found.append(f"{name}-{case.channel}")
        else:
            found += [f"{name}-email", f"{name}-sms"]
    return found


async def error_of(case: Case, harness: Harness) -> BaseException | None:
    """Run the check of a case, and return what it raised; a plugin's SystemExit never ends the run."""
    try:
        await case.check.run(harness.for_channel(case.channel) if case.channel else harness)
    except asyncio.CancelledError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001  a plugin may raise anything
        return error
    return None


def describe_problem(error: BaseException, harness: Harness) -> str:
    """Return what is wrong in a line without a secret, an address or a number."""
    if isinstance(error, AssertionError | ConfigError):
        # Only the first line: where pytest has rewritten the check, values follow.
        text = str(error).partition("\n")[0]
        return redaction.redact(text, *map(Secret, harness.private_values())) or "an assertion failed"
    # Its text may hold anything.
    return f"it raised {type(error).__name__}{_where(error)}"


def _where(error: BaseException) -> str:
    """Return the place in the code where an error was raised, without its text."""
    traceback = error.__traceback__
    while traceback and traceback.tb_next:
        traceback = traceback.tb_next
    if traceback is None:
        return ""
    file = traceback.tb_frame.f_code.co_filename.replace("\\", "/").rpartition("/")[2]
    return f" at {file}:{traceback.tb_lineno}"
