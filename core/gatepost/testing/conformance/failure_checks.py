"""Checks of sending when the provider or the network fails. Each runs once for each channel."""

import time
from typing import Any

from gatepost.errors import Rejected, SendError, Unavailable, Uncertain
from gatepost.model import Receipt
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.leaks import contains_any, text_of
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.conformance.running_plugin import SHORT_TIMEOUTS, TIMEOUT, RunningPlugin, describe
from gatepost.testing.conformance.send_checks import assert_delivered_once
from gatepost.testing.conformance.untrusted import untrusted_server
from gatepost.testing.features import FailureMode

_DECLARED_ERRORS = (Rejected, Unavailable, Uncertain)

# Simulated one by one, where they were declared, by the checks that expect the same of each.
_QUICK_FAILURES = (
    FailureMode.REFUSE,
    FailureMode.THROTTLE,
    FailureMode.OUTAGE,
    FailureMode.DENY,
    FailureMode.LOSE,
    FailureMode.DROP,
    FailureMode.REDIRECT,
    FailureMode.NONSENSE,
)


async def _send_failing(
    harness: Harness,
    failure: FailureMode,
    *,
    timeout: float = TIMEOUT,  # noqa: ASYNC109  the plugin's own
) -> tuple[object, Any]:
    """Send a message from a new instance while the provider fails; return the outcome and the message."""
    async with harness.run_plugin(timeout=timeout) as running:
        message = harness.message(failure)
        with harness.failing(failure):
            outcome = await running.send(message)
    return outcome, message


def _assert_raised(outcome: object, kind: type[SendError], because: str) -> Any:
    assert isinstance(outcome, kind), f"{because}: {describe(outcome)} instead of raising {kind.__name__}"
    return outcome


@check(Group.SEND, FailureMode.REFUSE)
async def refused(harness: Harness) -> None:
    """Raise Rejected where the provider refuses the message for good.

    Raise Rejected for an answer that says that this message can never be sent, as wire.expect_success does.
    """
    outcome, _ = await _send_failing(harness, FailureMode.REFUSE)
    _assert_raised(outcome, Rejected, "the provider refuses the message for good")


@check(Group.SEND, FailureMode.THROTTLE)
async def throttled(harness: Harness) -> None:
    """Raise Unavailable where the provider has received too many requests.

    Raise Unavailable without `misconfigured` for 429, or for the API's own code for too many requests.
    """
    outcome, _ = await _send_failing(harness, FailureMode.THROTTLE)
    error = _assert_raised(outcome, Unavailable, "the provider has received too many requests")
    assert not error.misconfigured, "too many requests are not for the operator to correct"


@check(Group.SEND, FailureMode.THROTTLE, FailureMode.RETRY_AFTER, after=("send.throttled",))
async def retry_after(harness: Harness) -> None:
    """Pass on the pause that the provider asks for, in seconds.

    Raise Unavailable(..., retry_after=seconds); wire.expect_success reads the header Retry-After.
    """
    begun = time.monotonic()
    outcome, _ = await _send_failing(harness, FailureMode.THROTTLE)
    # Where the provider names a point in time, the pause that is left depends on when it is read.
    took = time.monotonic() - begun
    after = getattr(outcome, "retry_after", None)
    assert after is not None, f"the provider asked for 7 seconds, and {describe(outcome)} without retry_after"
    assert max(0.0, 6.0 - took) <= after <= 8.0, f"the provider asked for 7 seconds, retry_after is {after}"


@check(Group.SEND, FailureMode.OUTAGE)
async def outage(harness: Harness) -> None:
    """Raise Unavailable where the provider has an error of its own.

    Raise Unavailable without `misconfigured` for answers such as 503, as wire.expect_success does.
    """
    outcome, _ = await _send_failing(harness, FailureMode.OUTAGE)
    error = _assert_raised(outcome, Unavailable, "the provider has an error of its own")
    assert not error.misconfigured, "the provider's own errors are not for the operator to correct"


@check(Group.SEND, FailureMode.DENY)
async def denied(harness: Harness) -> None:
    """Raise Unavailable with misconfigured=True where the key is refused: another plugin may send it.

    Raise Unavailable(..., misconfigured=True) for 401 and the like, as wire.expect_success does.
    """
    outcome, _ = await _send_failing(harness, FailureMode.DENY)
    error = _assert_raised(outcome, Unavailable, "the provider refuses the key")
    assert error.misconfigured, "only the operator can correct it: misconfigured=True"


@check(Group.SEND, FailureMode.UNREACHABLE)
async def unreachable(harness: Harness) -> None:
    """Raise Unavailable where no server is at the provider's port: the message was not taken.

    Catch the error of the connection, and raise Unavailable with words of your own: its text may quote the
    request.
    """
    with harness.unreachable_table() as table:
        async with harness.run_plugin(table=table) as running:
            message = harness.message()
            outcome = await running.send(message)
    _assert_raised(outcome, Unavailable, "no server is there")
    text = text_of(outcome) + "\n".join(running.recorder.texts)
    assert not contains_any(text, harness.recipients), "the recipient is in the error or in a log"


@check(Group.SEND, FailureMode.UNTRUSTED)
async def untrusted(harness: Harness) -> None:
    """Raise Unavailable where the server's certificate is by no known authority, and tell it nothing.

    Verify certificates always; an operator with an authority of their own names its file.
    """
    async with untrusted_server() as server:
        async with harness.run_plugin(table=harness.tls_table(server.port)) as running:
            outcome = await running.send(harness.message())
        assert not server.received, "the certificate was not verified: the server could read the request"
        _assert_raised(outcome, Unavailable, "nobody knows the server's certificate")
        assert server.connections, (
            "the plugin did not connect: the suite's `table_for_tls_port` must lead there"
        )


@check(Group.SEND, FailureMode.LOSE)
async def lost(harness: Harness) -> None:
    """Raise Uncertain where the answer is lost after the message was sent.

    Raise Uncertain for every error after the request has begun to leave: the message may have been sent.
    """
    outcome, message = await _send_failing(harness, FailureMode.LOSE)
    _assert_raised(outcome, Uncertain, "the provider took the message and its answer was lost")
    count = len(harness.received(message.id))
    assert count <= 1, f"the answer was lost, and the provider has the message {count} times"


@check(Group.SEND, FailureMode.DROP)
async def dropped(harness: Harness) -> None:
    """Raise Uncertain or Unavailable, not Rejected, where the connection breaks during the send.

    Raise Uncertain for every error after the request has begun to leave, as gatepost.wire does.
    """
    outcome, _ = await _send_failing(harness, FailureMode.DROP)
    assert isinstance(outcome, Uncertain | Unavailable), f"the connection broke: {describe(outcome)}"


@check(Group.SEND, FailureMode.HANG)
async def hang(harness: Harness) -> None:
    """Raise Uncertain after its own deadline of `timeout` seconds where the provider never answers.

    Put the whole call under a deadline of `context.timeout` seconds, as wire.connect does, and raise Uncertain.
    """
    outcome = await _send_unanswered(harness, FailureMode.HANG)
    _assert_raised(outcome, Uncertain, "the provider read the message and never answered")


@check(Group.SEND, FailureMode.DRIP)
async def drip(harness: Harness) -> None:
    """End at the deadline, which holds for the whole call, when the answer comes byte by byte.

    Put one deadline around the whole call: a timeout of each read begins again with each byte.
    """
    outcome = await _send_unanswered(harness, FailureMode.DRIP)
    assert isinstance(outcome, Uncertain | Receipt), f"the answer came byte by byte: {describe(outcome)}"


async def _send_unanswered(harness: Harness, failure: FailureMode) -> object:
    """Return the outcome of a send that the provider has begun to read and does not answer."""
    outcome: object = None
    # On a busy machine a short timeout may pass before the request has left.
    for timeout in SHORT_TIMEOUTS:
        before = harness.emulated_provider.attempts
        outcome, _ = await _send_failing(harness, failure, timeout=timeout)
        if harness.emulated_provider.attempts > before:
            break
    return outcome


@check(Group.SEND, FailureMode.REDIRECT)
async def redirected(harness: Harness) -> None:
    """Follow no redirect: do not send the message to another place, and return no Receipt.

    Keep the client from following redirects, as wire.connect does, and raise an error for a 3xx.
    """
    before = harness.emulated_provider.attempts
    outcome, _ = await _send_failing(harness, FailureMode.REDIRECT)
    assert harness.emulated_provider.attempts - before == 1, "the redirect was followed"
    assert isinstance(outcome, _DECLARED_ERRORS), f"the provider redirected: {describe(outcome)}"


@check(Group.SEND, FailureMode.NONSENSE)
async def nonsense(harness: Harness) -> None:
    """Return a Receipt or raise Uncertain, no other error, for an answer of success that makes no sense.

    Check the form of the answer, and raise Uncertain where it is not the provider's.
    """
    outcome, _ = await _send_failing(harness, FailureMode.NONSENSE)
    assert isinstance(outcome, Receipt | Uncertain), (
        f"an answer of success that makes no sense: {describe(outcome)}"
    )


@check(Group.SEND)
async def no_retries(harness: Harness) -> None:
    """Never try again by itself, whatever went wrong: retries are the core's.

    Switch off the retries of your client or SDK, and make one request for each call.
    """
    async with harness.run_plugin() as running:
        for failure in declared_failures(harness):
            _assert_one_request(failure, (await send_in(harness, running, failure))[1])
    if FailureMode.HANG in harness.declared:
        async with harness.run_plugin(timeout=SHORT_TIMEOUTS[0]) as running:
            requests = (await send_in(harness, running, FailureMode.HANG))[1]
            _assert_one_request(FailureMode.HANG, requests)


def _assert_one_request(failure: FailureMode, requests: int) -> None:
    # A refused token may be replaced, and the refused request repeated with the new one.
    limit = 2 if failure is FailureMode.DENY else 1
    assert requests <= limit, f"{failure}: one message was sent in {requests} requests"


@check(Group.SEND)
async def declared_errors(harness: Harness) -> None:
    """Raise only Rejected, Unavailable or Uncertain, with a reason, whatever went wrong.

    Catch what your client raises and translate it, and give each error a reason that an operator can read.
    """
    async with harness.run_plugin() as running:
        for failure in declared_failures(harness):
            outcome, _ = await send_in(harness, running, failure)
            if isinstance(outcome, BaseException):
                assert isinstance(outcome, _DECLARED_ERRORS), (
                    f"{failure}: {describe(outcome)}, which the hook does not declare"
                )
                assert outcome.reason.strip(), f"{failure}: the error has no reason for an operator to read"


async def send_in(harness: Harness, running: RunningPlugin, failure: FailureMode) -> tuple[object, int]:
    """Send a message while the provider fails; return the outcome and the requests that the provider saw."""
    before = harness.emulated_provider.attempts
    with harness.failing(failure):
        outcome = await running.send(harness.message(failure))
    return outcome, harness.emulated_provider.attempts - before


@check(Group.SEND)
async def recovers(harness: Harness) -> None:
    """Send the next message well, with the same instance, after any failure.

    Drop the connection of a failed send, and take another one for the next message.
    """
    async with harness.run_plugin(concurrency=1) as running:
        for failure in declared_failures(harness):
            with harness.failing(failure):
                await running.send(harness.message(failure))
            message = harness.message()
            outcome = await running.send(message)
            assert isinstance(outcome, Receipt), f"after {failure}: {describe(outcome)}"
            assert_delivered_once(harness, message, [])


def declared_failures(harness: Harness) -> list[FailureMode]:
    return [failure for failure in _QUICK_FAILURES if failure in harness.declared]
