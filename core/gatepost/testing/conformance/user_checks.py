"""Checks of finding whose a number or an address is."""

from collections.abc import Sequence

from gatepost.model import Channel, Secret
from gatepost.testing.conformance import assertions
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.leaks import contains_any, fragment_in
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.conformance.running_plugin import RunningPlugin, describe, gather
from gatepost.testing.conformance.sample_contacts import USUAL
from gatepost.testing.features import FailureMode

_UNKNOWN = {Channel.EMAIL: "nobody.here@people.example", Channel.SMS: "+447700900999"}
_HOSTILE = {
    Channel.EMAIL: (
        "%@people.example",
        "_anary.one@people.example",
        "canary.one@people.example' OR '1'='1",
        "anary.one@people.example",
        "canary.one@people.exampl",
        "*",
    ),
    Channel.SMS: ("+44770090001_", "+44770090001%", "+4477009000111", "+447700900", "+٤٤٧٧٠٠٩٠٠٠١١"),
}


@check(Group.USERS)
async def known_recipients(harness: Harness) -> None:
    """Return the users with a canonical address or a number in E.164.

    Compare with the address or number in its canonical form, and return a list of ids as texts.
    """
    async with harness.run_plugin() as running:
        for user in USUAL:
            for channel, recipient in _recipients(harness, user):
                found = _ids(await running.find_user(channel, recipient))
                assert found == [user], f"the {channel} recipient of {user} is found as {found}"


@check(Group.USERS)
async def unknown_recipients(harness: Harness) -> None:
    """Return nobody for a recipient that no user has, and for an address asked for as a number.

    Search the field of this channel only, and return an empty list where nobody has the recipient.
    """
    async with harness.run_plugin() as running:
        for channel, unknown in _UNKNOWN.items():
            found = _ids(await running.find_user(channel, Secret(unknown)))
            assert not found, f"an unknown {channel} recipient is found as {found}"
        for channel, recipient in _recipients(harness, USUAL[0]):
            other = Channel.SMS if channel is Channel.EMAIL else Channel.EMAIL
            found = _ids(await running.find_user(other, recipient))
            assert not found, f"the {channel} recipient of a user is found on the channel {other}"


@check(Group.USERS)
async def hostile_recipients(harness: Harness) -> None:
    """Return nobody for a part of a recipient or for a pattern: an opt-out must not reach another user.

    Compare whole values for equality and pass them as parameters: no LIKE, no prefix, no pattern.
    """
    async with harness.run_plugin() as running:
        for channel, recipients in _HOSTILE.items():
            for recipient in recipients:
                found = _ids(await running.find_user(channel, Secret(recipient)))
                assert not found, f"the {channel} recipient {recipient!a} is found as {found}"


@check(Group.USERS)
async def concurrent(harness: Harness) -> None:
    """Find the right user in each of several concurrent calls.

    Keep what belongs to one call in local variables, not in the instance.
    """
    lookups = [(user, *each) for user in USUAL for each in _recipients(harness, user)] * 4
    async with harness.run_plugin() as running:
        outcomes = await gather([running.find_user(channel, recipient) for _, channel, recipient in lookups])
    for (user, channel, _), outcome in zip(lookups, outcomes, strict=True):
        assert _ids(outcome) == [user], f"the {channel} recipient of {user} is found as {_ids(outcome)}"


@check(Group.USERS)
async def no_leaks(harness: Harness) -> None:
    """Log no recipient, no fragment of one and no secret, at any level.

    Log how many users were found, and nothing of the recipient: no last digits and no hash.
    """
    async with harness.run_plugin() as running:
        for user in USUAL:
            for channel, recipient in _recipients(harness, user):
                await running.find_user(channel, recipient)
    text = "\n".join(running.recorder.texts)
    values = [value.reveal() for user in USUAL for _, value in _recipients(harness, user)]
    assert not contains_any(text, values), "a user's address or number is in a log"
    assert not any(fragment_in(text, value) for value in values), "a fragment of a recipient is in a log"
    assert not contains_any(text, harness.secrets()), "a secret is in a log"


@check(Group.USERS)
async def free_loop(harness: Harness) -> None:
    """Make no blocking call on the event loop's thread.

    Use an async client, or make the call in asyncio.to_thread.
    """
    async with harness.run_plugin() as running:
        for channel, recipient in _recipients(harness, USUAL[0]):
            await running.find_user(channel, recipient)
    assertions.assert_no_blocking_calls(running)


@check(Group.USERS, FailureMode.OUTAGE)
async def outage(harness: Harness) -> None:
    """Raise Unavailable where the source has an error of its own: the provider is asked to report again.

    Raise Unavailable for every answer that does not say whose the recipient is.
    """
    await assertions.assert_unavailable(harness, FailureMode.OUTAGE, _finder(harness), _find_again(harness))


@check(Group.USERS, FailureMode.HANG)
async def hang(harness: Harness) -> None:
    """Raise Unavailable after its own deadline of `lookup_timeout` seconds where the source does not answer.

    Put the lookup under asyncio.timeout(0.9 * context.lookup_timeout), and raise Unavailable.
    """
    await assertions.assert_lookup_deadline(harness, _finder(harness), _find_again(harness))


def _finder(harness: Harness) -> assertions.Call:
    async def find(running: RunningPlugin) -> object:
        channel, recipient = _recipients(harness, USUAL[0])[0]
        return await running.find_user(channel, recipient)

    return find


def _find_again(harness: Harness) -> assertions.Call:
    async def find(running: RunningPlugin) -> None:
        found = _ids(await _finder(harness)(running))
        assert found == [USUAL[0]], f"a known recipient is found as {found}"

    return find


def _recipients(harness: Harness, user: str) -> list[tuple[Channel, Secret]]:
    contact = harness.contacts[user]
    found = ((Channel.EMAIL, contact.email), (Channel.SMS, contact.phone))
    return [(channel, value) for channel, value in found if value is not None]


def _ids(outcome: object) -> list[str]:
    assert isinstance(outcome, Sequence), f"{describe(outcome)} instead of returning ids"
    assert not isinstance(outcome, str), "it returned one text instead of a list of ids"
    assert len(outcome) <= 100, f"it returned {len(outcome)} ids; 100 are allowed"
    assert all(isinstance(one, str) for one in outcome), "an id is not a text"
    return list(outcome)
