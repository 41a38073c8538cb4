"""Checks of finding several users at once."""

from collections.abc import Mapping

from gatepost.model import Contact
from gatepost.testing.conformance import assertions
from gatepost.testing.conformance.contact_checks import HOSTILE_IDS, assert_same
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.leaks import contains_any
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.conformance.running_plugin import RunningPlugin, describe, gather
from gatepost.testing.conformance.sample_contacts import USUAL
from gatepost.testing.features import FailureMode

_MAX_IDS = 100
"""Ids that the core asks for at once, at most."""


@check(Group.BATCH)
async def same_contacts(harness: Harness) -> None:
    """Return by its id each user that find_contact returns, and the same contact.

    Return a mapping by the ids that were asked for, and build each contact with the function that find_contact
    uses.
    """
    async with harness.run_plugin() as running:
        found = _mapping(await running.find_many(list(harness.contacts)))
        for user in harness.contacts:
            single = await running.find(user)
            assert isinstance(single, Contact), f"find_contact does not find {user}: {describe(single)}"
            assert_same(user, found.get(user), single)


@check(Group.BATCH)
async def unknown_users(harness: Harness) -> None:
    """Leave out users that it does not know, and return the others.

    Leave the id of an unknown user out of the mapping, and return the others.
    """
    async with harness.run_plugin() as running:
        found = _mapping(await running.find_many([USUAL[0], "no-such-user-here", USUAL[1]]))
        assert set(found) == {USUAL[0], USUAL[1]}, f"of two known users and an unknown one: {len(found)}"
        assert not _mapping(await running.find_many(["no-such-user-here"])), "an unknown user was found"


@check(Group.BATCH)
async def many_ids(harness: Harness) -> None:
    """Find one user as well as a hundred in one call.

    Ask for all ids, in several queries where the source takes fewer at once.
    """
    ids = [*USUAL, *(f"no-such-user-{number}" for number in range(_MAX_IDS - len(USUAL)))]
    async with harness.run_plugin() as running:
        found = _mapping(await running.find_many(ids))
        assert set(found) == set(USUAL), f"of {len(USUAL)} known users among {_MAX_IDS} it found {len(found)}"
        assert set(_mapping(await running.find_many(USUAL[:1]))) == {USUAL[0]}, "one id alone was not found"


@check(Group.BATCH)
async def hostile_ids(harness: Harness) -> None:
    """Find no user for a hostile id, and the right ones beside it.

    Pass ids as parameters, compare them exactly, and leave out those that can't be encoded.
    """
    async with harness.run_plugin() as running:
        found = _mapping(await running.find_many([*HOSTILE_IDS, USUAL[0]]))
        assert set(found) == {USUAL[0]}, f"with hostile ids it found {sorted(map(ascii, found))[:3]}"
        for user in HOSTILE_IDS:
            found = _mapping(await running.find_many([user, USUAL[0]]))
            assert set(found) == {USUAL[0]}, f"beside the id {user[:24]!a} the right user is not found"


@check(Group.BATCH)
async def concurrent(harness: Harness) -> None:
    """Find the right users in each of several concurrent calls.

    Keep what belongs to one call in local variables, not in the instance.
    """
    async with harness.run_plugin() as running:
        outcomes = await gather([running.find_many([user]) for user in USUAL * 4])
    for user, outcome in zip(USUAL * 4, outcomes, strict=True):
        assert_same(user, _mapping(outcome).get(user), harness.contacts[user])


@check(Group.BATCH)
async def no_leaks(harness: Harness) -> None:
    """Log and print no address, number or secret, at any level.

    Log counts and kinds, and nothing of what was found.
    """
    async with harness.run_plugin() as running:
        await running.find_many(list(harness.contacts))
    text = "\n".join(running.recorder.texts)
    contacts = [harness.contacts[user] for user in USUAL]
    values = [value.reveal() for one in contacts for value in (one.email, one.phone) if value]
    assert not contains_any(text, values), "a user's address or number is in a log"
    assert not contains_any(text, harness.secrets()), "a secret is in a log"


@check(Group.BATCH, FailureMode.OUTAGE)
async def outage(harness: Harness) -> None:
    """Raise Unavailable where the source has an error of its own: an empty result would mean unknown users.

    Raise Unavailable for every answer that does not say which users exist.
    """
    await assertions.assert_unavailable(harness, FailureMode.OUTAGE, _find, _find_again)


@check(Group.BATCH, FailureMode.HANG)
async def hang(harness: Harness) -> None:
    """Raise Unavailable after its own deadline of `lookup_timeout` seconds where the source does not answer.

    Put the lookup under asyncio.timeout(0.9 * context.lookup_timeout), and raise Unavailable.
    """
    await assertions.assert_lookup_deadline(harness, _find, _find_again)


@check(Group.BATCH, FailureMode.NONSENSE)
async def nonsense(harness: Harness) -> None:
    """Raise Unavailable where the answer makes no sense, and find no user.

    Check the form of the answer, and raise Unavailable for any other.
    """
    await assertions.assert_unavailable(harness, FailureMode.NONSENSE, _find, _find_again)


async def _find(running: RunningPlugin) -> object:
    return await running.find_many(USUAL[:2])


async def _find_again(running: RunningPlugin) -> None:
    found = _mapping(await _find(running))
    assert set(found) == set(USUAL[:2]), f"it finds {len(found)} of two users"


def _mapping(outcome: object) -> Mapping[str, Contact]:
    assert isinstance(outcome, Mapping), f"{describe(outcome)} instead of returning a mapping"
    others = [type(one).__name__ for one in outcome.values() if not isinstance(one, Contact)]
    assert not others, f"the mapping holds a {others[0]} in place of a Contact: leave unknown users out"
    return outcome
