"""Checks of ping."""

from gatepost.testing.conformance import assertions
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.leaks import contains_any, text_of
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.conformance.running_plugin import RunningPlugin, describe
from gatepost.testing.features import FailureMode


@check(Group.PING, standalone=True)
async def success(harness: Harness) -> None:
    """Return None when the provider works.

    Call what costs nothing at the provider and needs the key, and return nothing.
    """
    async with harness.run_plugin() as running:
        outcome = await running.ping()
    assert outcome is None, f"the provider works, and {describe(outcome)}"


@check(Group.PING)
async def sends_nothing(harness: Harness) -> None:
    """Call the provider without sending a message.

    Read the account or the permissions of the key instead.
    """
    provider = harness.provider
    attempts = provider.attempts if provider else 0
    async with harness.run_plugin() as running:
        await running.ping()
    assert not provider or provider.attempts == attempts, "the provider was asked to send a message"


@check(Group.PING, FailureMode.OUTAGE)
async def outage(harness: Harness) -> None:
    """Raise Unavailable where the provider has an error of its own.

    Translate the provider's errors into Unavailable, as wire.expect_success does.
    """
    await assertions.assert_unavailable(harness, FailureMode.OUTAGE, RunningPlugin.ping)


@check(Group.PING, FailureMode.DENY)
async def denied(harness: Harness) -> None:
    """Raise Unavailable with misconfigured=True where the key is refused.

    Raise Unavailable(..., misconfigured=True) where the provider refuses the key, as wire.expect_success does.
    """
    await assertions.assert_misconfigured(harness, RunningPlugin.ping)


@check(Group.PING, FailureMode.HANG)
async def hang(harness: Harness) -> None:
    """Raise Unavailable after its own deadline where the provider does not answer.

    Put the whole call under a deadline of `context.timeout` seconds, as wire.connect does, and raise
    Unavailable.
    """
    await assertions.assert_unavailable(harness, FailureMode.HANG, RunningPlugin.ping)


@check(Group.PING, FailureMode.DROP)
async def drop(harness: Harness) -> None:
    """Raise Unavailable where the connection breaks: a ping is never Uncertain.

    Catch the error of the connection, and raise Unavailable: a ping changes nothing.
    """
    await assertions.assert_unavailable(harness, FailureMode.DROP, RunningPlugin.ping)


@check(Group.PING, FailureMode.UNREACHABLE)
async def unreachable(harness: Harness) -> None:
    """Raise Unavailable where no server is at the provider's port.

    Catch the error of the connection, and raise Unavailable.
    """
    await assertions.assert_unreachable(harness, RunningPlugin.ping)


@check(Group.PING, standalone=True)
async def no_leaks(harness: Harness) -> None:
    """Log and raise no secret of the settings.

    Name the setting and not its value, and raise with `from None` where the cause quotes it.
    """
    async with harness.run_plugin() as running:
        outcome = await running.ping()
    text = text_of(outcome) + "\n".join(running.recorder.texts)
    assert not contains_any(text, harness.secrets()), "a secret is in a log or an error"
