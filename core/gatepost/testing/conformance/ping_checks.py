"""Checks of ping."""

from gatepost.testing.conformance import assertions
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.leaks import contains_any, text_of
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.conformance.running_plugin import RunningPlugin, describe
from gatepost.testing.features import FailureMode


@check(Group.PING, standalone=True)
async def success(harness: Harness) -> None:
    """Return None when the provider works."""
    async with harness.run_plugin() as running:
        outcome = await running.ping()
    assert outcome is None, f"the provider works, and {describe(outcome)}"


@check(Group.PING)
async def sends_nothing(harness: Harness) -> None:
    """Call the provider without sending a message."""
    provider = harness.provider
    attempts = provider.attempts if provider else 0
    async with harness.run_plugin() as running:
        await running.ping()
    assert not provider or provider.attempts == attempts, "the provider was asked to send a message"


@check(Group.PING, FailureMode.OUTAGE)
async def outage(harness: Harness) -> None:
    """Raise Unavailable where the provider has an error of its own."""
    await assertions.assert_unavailable(harness, FailureMode.OUTAGE, RunningPlugin.ping)


@check(Group.PING, FailureMode.DENY)
async def denied(harness: Harness) -> None:
    """Raise Unavailable with misconfigured=True where the key is refused."""
    await assertions.assert_misconfigured(harness, RunningPlugin.ping)


@check(Group.PING, FailureMode.HANG)
async def hang(harness: Harness) -> None:
    """Raise Unavailable after its own deadline where the provider does not answer."""
    await assertions.assert_unavailable(harness, FailureMode.HANG, RunningPlugin.ping)


@check(Group.PING, FailureMode.DROP)
async def drop(harness: Harness) -> None:
    """Raise Unavailable where the connection breaks: a ping is never Uncertain."""
    await assertions.assert_unavailable(harness, FailureMode.DROP, RunningPlugin.ping)


@check(Group.PING, FailureMode.UNREACHABLE)
async def unreachable(harness: Harness) -> None:
    """Raise Unavailable where no server is at the provider's port."""
    await assertions.assert_unreachable(harness, RunningPlugin.ping)


@check(Group.PING, standalone=True)
async def no_leaks(harness: Harness) -> None:
    """Log and raise no secret of the settings."""
    async with harness.run_plugin() as running:
        outcome = await running.ping()
    text = text_of(outcome) + "\n".join(running.recorder.texts)
    assert not contains_any(text, harness.secrets()), "a secret is in a log or an error"
