"""Checks of finding users while the source fails."""

from gatepost.testing.conformance import assertions
from gatepost.testing.conformance.contact_checks import assert_same
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.conformance.running_plugin import RunningPlugin
from gatepost.testing.features import FailureMode

_USER = "conformance-1"


@check(Group.CONTACTS, FailureMode.OUTAGE)
async def outage(harness: Harness) -> None:
    """Raise Unavailable where the source has an error of its own: None would mean an unknown user.

    Raise Unavailable for every answer that does not say whether the user exists.
    """
    await assertions.assert_unavailable(harness, FailureMode.OUTAGE, _find, _find_again(harness))


@check(Group.CONTACTS, FailureMode.DENY)
async def denied(harness: Harness) -> None:
    """Raise Unavailable with misconfigured=True where the key is refused.

    Raise Unavailable(..., misconfigured=True) where the source refuses the key, as wire.expect_success does.
    """
    await assertions.assert_misconfigured(harness, _find, _find_again(harness))


@check(Group.CONTACTS, FailureMode.HANG)
async def hang(harness: Harness) -> None:
    """Raise Unavailable after its own deadline of `lookup_timeout` seconds where the source does not answer.

    Put the lookup under asyncio.timeout(0.9 * context.lookup_timeout), which is shorter than `timeout`, and
    raise Unavailable. Where the core has to cancel a lookup, its log blames the source.
    """
    await assertions.assert_lookup_deadline(harness, _find, _find_again(harness))


@check(Group.CONTACTS, FailureMode.LOSE)
async def lost(harness: Harness) -> None:
    """Raise Unavailable where the answer is lost: a lookup is never Uncertain.

    Catch the error of the connection, and raise Unavailable: a lookup changes nothing.
    """
    await assertions.assert_unavailable(harness, FailureMode.LOSE, _find, _find_again(harness))


@check(Group.CONTACTS, FailureMode.NONSENSE)
async def nonsense(harness: Harness) -> None:
    """Raise Unavailable where the answer makes no sense, and find no user.

    Check the form of the answer and that it is about this user, and raise Unavailable for any other.
    """
    await assertions.assert_unavailable(harness, FailureMode.NONSENSE, _find, _find_again(harness))


@check(Group.CONTACTS, FailureMode.UNREACHABLE)
async def unreachable(harness: Harness) -> None:
    """Raise Unavailable where no server is at the source's port.

    Catch the error of the connection, and raise Unavailable.
    """
    await assertions.assert_unreachable(harness, _find)


async def _find(running: RunningPlugin) -> object:
    return await running.find(_USER)


def _find_again(harness: Harness) -> assertions.Call:
    """Return a call that raises AssertionError unless the user is found."""

    async def find(running: RunningPlugin) -> None:
        assert_same(_USER, await running.find(_USER), harness.contacts[_USER])

    return find
