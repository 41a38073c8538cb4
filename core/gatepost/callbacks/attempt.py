"""One attempt to send a status to Smartico: its outcome, and the delay until the next attempt."""

from collections.abc import Callable
from typing import NamedTuple

from gatepost import wire
from gatepost.outbox import Callback, CallbackResult

RETRY_DELAYS = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 36_000.0)
"""Seconds from one attempt to the next, each ±20 %. When the eighth attempt has failed too, the callback is dead."""


class CallOutcome(NamedTuple):
    """The outcome of one call."""

    problem: str = ""
    """Why the status was not acknowledged; empty: it was."""
    retry_after: float | None = None
    """Seconds that Smartico asked to wait."""
    target_failed: bool = False
    """Whether the target failed, and not only this call."""
    http_status: int = 0
    """The status of the answer; 0 where there was none."""


INTERRUPTED = CallOutcome("interrupted")


def outcome_of(answer: wire.Reply) -> CallOutcome:
    """Return what an answer means: any 2xx without an ``error_code`` acknowledges the status."""
    if not 200 <= answer.status < 300:
        target_failed = answer.status == 429 or answer.status >= 500
        retry_after = wire.retry_after(answer.headers)
        return CallOutcome(f"HTTP {answer.status}", retry_after, target_failed, answer.status)
    body = answer.json()
    code = body.get("error_code", 0) if isinstance(body, dict) else 0
    # Compared with a tuple and not with a set: the code may be a list, which can't be looked up in a set.
    if code in (0, "0", None):
        return CallOutcome(http_status=answer.status)
    problem = f"error_code {code}" if isinstance(code, int) else "an error_code"
    return CallOutcome(problem, http_status=answer.status)


def retry_delay(
    attempt: int, retry_after: float | None, uniform: Callable[[float, float], float]
) -> float | None:
    """Return the seconds until the next attempt, after the ``attempt``-th; None when that was the last.

    ``retry_after`` can only lengthen a delay: with short ones all attempts would be used up while the host is down.
    """
    if attempt > len(RETRY_DELAYS):
        return None
    usual = RETRY_DELAYS[attempt - 1]
    delay = uniform(0.8 * usual, 1.2 * usual)
    return delay if retry_after is None else max(delay, min(retry_after, RETRY_DELAYS[-1]))


def callback_result(
    callback: Callback, outcome: CallOutcome, uniform: Callable[[float, float], float]
) -> CallbackResult:
    """Return the result of a call that was made."""
    return CallbackResult(
        seq=callback.seq,
        attempt=callback.attempt,
        acknowledged=not outcome.problem,
        retry_in=retry_delay(callback.attempt, outcome.retry_after, uniform),
        http_status=outcome.http_status,
        problem=outcome.problem,
    )


def interrupted_result(callback: Callback) -> CallbackResult:
    """Return the result of a call that was cut off: it does not count as an attempt, and is due at once."""
    return CallbackResult(
        seq=callback.seq,
        attempt=callback.attempt,
        acknowledged=False,
        retry_in=0.0,
        counts=False,
        problem=INTERRUPTED.problem,
    )
