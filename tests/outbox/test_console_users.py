"""The users of the console and their sessions, in a real store of each kind."""

import msgspec
import pytest
from sqlalchemy import select

from gatepost.outbox import console_users
from gatepost.outbox.console_schema import console_sessions
from gatepost.outbox.console_users import ConsoleUser, NewSession, UserChange, UserRemoval

MARIA = ConsoleUser(name="maria", role="operator", clients=[], password_hash="the hash")
HOUR = 3600.0

pytestmark = pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)


async def put(store, user):
    return await store.change(console_users.put_user, UserChange(user, "root"))


async def begin(store, user, token="the-token"):
    return await store.change(console_users.begin_session, NewSession(token, user, HOUR))


async def find(store, clock, token="the-token"):
    return await store._database.transact(
        lambda connection: console_users.find_session(connection, token, round(clock.now * 1000), HOUR)
    )


async def test_a_session_is_found_by_its_token_of_which_the_store_has_a_hash_alone(store, clock):
    await put(store, MARIA)
    assert await begin(store, MARIA)
    assert (await find(store, clock)).user == MARIA
    assert await find(store, clock, "another token") is None
    rows = await store._database.transact(lambda one: one.execute(select(console_sessions)).all())
    assert "the-token" not in str(rows)


@pytest.mark.parametrize(
    "changed",
    [
        {"password_hash": "another hash"},
        {"role": "viewer"},
        {"clients": ["brand"]},
    ],
)
async def test_who_was_changed_while_the_password_was_compared_does_not_begin_a_session(
    store, clock, changed
):
    await put(store, MARIA)
    await put(store, msgspec.structs.replace(MARIA, **changed))
    assert not await begin(store, MARIA)
    assert await find(store, clock) is None


async def test_who_was_removed_meanwhile_does_not_either(store, clock):
    await put(store, MARIA)
    await store.change(console_users.remove_user, UserRemoval("maria", "root"))
    assert not await begin(store, MARIA)
    await put(store, msgspec.structs.replace(MARIA, password_hash="another hash"))
    assert await find(store, clock) is None


async def test_a_change_ends_the_sessions_that_have_begun(store, clock):
    await put(store, MARIA)
    await begin(store, MARIA)
    await put(store, MARIA)
    assert await find(store, clock) is None
