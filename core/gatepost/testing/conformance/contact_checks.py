"""Checks of finding users."""

import asyncio
import functools
import time

from gatepost.hookspecs import ContactsState
from gatepost.model import Contact, Secret
from gatepost.testing.conformance import assertions, cpu_units
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.leaks import contains_any
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.conformance.running_plugin import describe, gather
from gatepost.testing.conformance.sample_contacts import ODD, USUAL
from gatepost.testing.features import ContactFeature

_USER = "conformance-1"
_UNKNOWN = "no-such-user-here"
_CLOCK_ERROR = 3600.0
"""Seconds by which the clock of a source may be ahead."""
HOSTILE_IDS = (
    "nobody",
    " ",
    "\0",
    "\n",
    f"{_USER}\0",
    f"{_USER}\n",
    f"{_USER}%00",
    f"{_USER}/",
    f"{_USER}?x=1",
    f"../{_USER}",
    "../../../../etc/passwd",
    "%",
    "_",
    "*",
    "conformance-_",
    "conformance-%",
    "' OR '1'='1",
    '"; DROP TABLE users; --',
    "{}",
    "${jndi:ldap://evil.example}",
    "\ud800",
    "\u202e1-ecnamrofnoc",
    "ü☃😀",
    "=1+1",
    "x" * 512,
    "😀" * 512,
)


@check(Group.CONTACTS)
async def known_user(harness: Harness) -> None:
    """Find a user that the source knows, with address and number.

    Compare ids as whole texts, and return address and number of that same record.
    """
    async with harness.run_plugin() as running:
        for user in USUAL:
            assert_same(user, await running.find(user), harness.contacts[user])


@check(Group.CONTACTS, standalone=True)
async def unknown_user(harness: Harness) -> None:
    """Return None for a user that the source does not know.

    Return None where the source says that it has no such user, and raise only where it can't say.
    """
    async with harness.run_plugin() as running:
        outcome = await running.find(_UNKNOWN)
    assert outcome is None, f"an unknown user: {describe(outcome)} instead of returning None"


@check(Group.CONTACTS)
async def missing_fields(harness: Harness) -> None:
    """Find a user without an address or a number; the missing field is None.

    Return None for an empty field: no empty Secret, and no value of another user.
    """
    async with harness.run_plugin() as running:
        for user, contact in harness.contacts.items():
            if contact.email is None or contact.phone is None:
                assert_same(user, await running.find(user), contact)


@check(Group.CONTACTS)
async def field_types(harness: Harness) -> None:
    """Return addresses and numbers as Secrets, attributes and the reason of a block as texts.

    Wrap addresses and numbers in Secret, and convert attributes and `blocked` into texts. Leave address and number out of
    the attributes: these are written into messages, where a template names them.
    """
    async with harness.run_plugin() as running:
        found = await running.find(_USER)
    assert isinstance(found, Contact), f"a known user: {describe(found)} instead of returning a Contact"
    for value in (found.email, found.phone):
        assert value is None or isinstance(value, Secret), "an address or number is not a Secret"
        assert value is None or isinstance(value.reveal(), str), "an address or number is not a text"
    texts = [text for pair in dict(found.attributes).items() for text in pair]
    assert all(isinstance(text, str) for text in texts), "an attribute is not a text"
    values = [value.reveal() for value in (found.email, found.phone) if value]
    assert not contains_any(" ".join(texts), values), "an attribute holds the address or the number"
    assert isinstance(found.blocked, str), "`blocked` is not a text"


@check(Group.CONTACTS, ContactFeature.BLOCKS)
async def blocked_users(harness: Harness) -> None:
    """Return in `blocked` why a user must not be contacted, without the address or number.

    Read in the source who is excluded, and return the reason as a word or two.
    """
    async with harness.run_plugin() as running:
        for user, contact in harness.contacts.items():
            if contact.blocked:
                found = await running.find(user)
                assert_same(user, found, contact)
                values = [value.reveal() for value in (contact.email, contact.phone) if value]
                assert not contains_any(str(getattr(found, "blocked", "")), values), (
                    f"the user {user}: the reason holds the address or the number"
                )


@check(Group.CONTACTS)
async def odd_values(harness: Harness) -> None:
    """Return odd addresses and numbers unchanged: the core validates them.

    Return each value as the source has it: strip, lower and reformat nothing.
    """
    async with harness.run_plugin() as running:
        for user in ODD:
            assert_same(user, await running.find(user), harness.contacts[user])


@check(Group.CONTACTS, standalone=True)
async def hostile_ids(harness: Harness) -> None:
    """Return None for a hostile id: never another user and never an error.

    Pass the id as a parameter or URL-encoded, compare it exactly, and return None for one that can't be
    encoded.
    """
    async with harness.run_plugin() as running:
        for user in HOSTILE_IDS:
            outcome = await running.find(user)
            shown = ascii(user[:24])
            assert not isinstance(outcome, Contact), f"the id {shown} finds a user"
            assert outcome is None, f"the id {shown}: {describe(outcome)} instead of returning None"


@check(Group.CONTACTS)
async def concurrent(harness: Harness) -> None:
    """Find the right user in each of many concurrent lookups.

    Keep what belongs to one call in local variables, not in the instance.
    """
    users = [user for user in USUAL for _ in range(10)]
    async with harness.run_plugin() as running:
        found = await gather([running.find(user) for user in users])
    for user, outcome in zip(users, found, strict=True):
        assert_same(user, outcome, harness.contacts[user])


@check(Group.CONTACTS)
async def no_leaks(harness: Harness) -> None:
    """Log and print no address, number or secret, at any level.

    Log counts and kinds, and nothing of what was found.
    """
    async with harness.run_plugin() as running:
        for user in (*harness.contacts, _UNKNOWN):
            await running.find(user)
    text = "\n".join(running.recorder.texts)
    contacts = [harness.contacts[user] for user in USUAL]
    values = [value.reveal() for one in contacts for value in (one.email, one.phone) if value]
    assert not contains_any(text, values), "a user's address or number is in a log"
    assert not contains_any(text, harness.secrets()), "a secret is in a log"


@check(Group.CONTACTS)
async def described(harness: Harness) -> None:
    """Describe the contacts rightly, where they are described: the users, and when the data were the newest.

    Count the users that can be found, and give `as_of` in seconds since the epoch: time.time(), or st_mtime of a file.
    What the source does not know is None.
    """
    async with harness.run_plugin() as running:
        await running.find(_USER)
    for state in running.core.described:
        assert isinstance(state, ContactsState), f"it passed {state!r} instead of a ContactsState"
        least = len(harness.contacts)
        assert state.users is None or state.users >= least, (
            f"it says that it has {state.users} users, of whom {least} can be found"
        )
        is_possible = state.as_of is None or 0 < state.as_of <= time.time() + _CLOCK_ERROR
        assert is_possible, f"as_of is {state.as_of}: no time until now"
        assert not state.problem, f"it says that data are not used: {state.problem}"


@check(Group.CONTACTS)
async def free_loop(harness: Harness) -> None:
    """Never block the event loop, neither with a call nor with much CPU.

    Use an async client, and make blocking calls and long computations in asyncio.to_thread.
    """
    async with harness.run_plugin() as running:
        for user in (*USUAL, _UNKNOWN):
            await cpu_units.assert_little_cpu(running.recorder, functools.partial(running.find, user))
    assertions.assert_no_blocking_calls(running)


@check(Group.CONTACTS)
async def cancelled(harness: Harness) -> None:
    """End as cancelled when a lookup is cancelled at any moment, and find the right user in the next one.

    Release locks and connections in a `finally` or with `async with`, and let CancelledError pass.
    """
    first, second = USUAL[:2]
    async with harness.run_plugin(concurrency=1) as running:
        for turns in range(6):
            task = running.begin("find_contact", first)
            for _ in range(turns):
                await asyncio.sleep(0)
            await assertions.assert_cancellable(task)
            assert_same(second, await running.find(second), harness.contacts[second])


def assert_same(user: str, found: object, expected: Contact) -> None:
    """Raise AssertionError unless the contact is the expected one."""
    assert isinstance(found, Contact), f"the user {user}: {describe(found)} instead of returning a Contact"
    for name in ("email", "phone"):
        got, wanted = getattr(found, name), getattr(expected, name)
        assert got == wanted, f"the user {user}: the {name} is not the one that the source has"
    assert bool(found.blocked) == bool(expected.blocked), (
        f"the user {user}: blocked, but may be contacted"
        if found.blocked
        else f"the user {user}: not blocked"
    )
