"""A store that an old version has filled goes on with today's code, and nothing in it is lost.

It has 1,000 messages. To try it with more: ``OLD_STORE_MESSAGES=100000 make test ARGS=tests/outbox/test_old_store.py``.
"""

import asyncio
import os
from functools import partial

import pytest
from sqlalchemy import text

import old_store
from claiming import claim_callbacks, claim_due, result_of
from gatepost.content import SmsContent, decode_content
from gatepost.model import Channel, Status, StatusEvent
from gatepost.outbox import CallbackResult, ReportedEvents, forget, migrate, postgresql, sqlite
from gatepost.outbox.forget import ForgetOrder
from gatepost.outbox.store_url import sqlite_path

MESSAGES = int(os.environ.get("OLD_STORE_MESSAGES", "1000"))
TENTH = MESSAGES // 10


@pytest.fixture(params=sorted(file.stem for file in old_store.FOLDER.glob("*.sql")))
def revision(request):
    return request.param


@pytest.fixture
async def old_place(place, revision, clock):
    """Return the location of an old store."""
    path = sqlite_path(place.url, place.base)
    if path is not None:
        path.unlink()
    database = sqlite.SqliteDatabase(path) if path else postgresql.PostgresDatabase(place.url)
    now = int(clock() * 1000)
    await database.transact(lambda connection: old_store.make(connection, revision, MESSAGES, now))
    await database.close()
    return place


async def count(store, table, where="1 = 1"):
    query = text(f"SELECT count(*) FROM {table} WHERE {where}")
    return await store._database.transact(lambda connection: connection.execute(query).scalar_one())


async def send_all(store):
    """Send everything that is queued; return the numbers of the messages."""
    sent = []
    while claims := await claim_due(store, Channel.SMS, 500, 30.0):
        assert {decode_content(Channel.SMS, one.content) for one in claims} == {SmsContent(text="hello")}
        results = [result_of(one, instance="relay", provider_id=f"p-{one.id}") for one in claims]
        assert all(await asyncio.gather(*map(store.finish, results)))
        sent += [int(one.uid.removeprefix("uid-")) for one in claims]
    return sent


async def call_all_back(store):
    """Acknowledge every callback; return the numbers in their URLs, with the status of each."""
    acknowledged = []
    while batch := await claim_callbacks(store, 500, 30.0):
        results = [CallbackResult(seq=one.seq, attempt=one.attempt, acknowledged=True) for one in batch]
        assert all(await store.finish_callbacks(partial(list, results)))
        acknowledged += [(int(one.callback_url.partition("n=")[2]), one.status) for one in batch]
    return acknowledged


@pytest.mark.slow
@pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)
async def test_everything_in_an_old_store_is_found_sent_told_and_forgotten(old_place, new, clock):
    async with old_place.opened() as store:
        assert await store._database.transact(migrate.tables_state) == "current"
        assert await count(store, "messages") == MESSAGES
        for number in range(0, MESSAGES, max(1, MESSAGES // 200)):
            known = await store.find("brand", Channel.SMS, f"uid-{number}")
            assert known.fingerprint == old_store.FINGERPRINT
            again = new(f"uid-{number}", channel=Channel.SMS, fingerprint=old_store.FINGERPRINT)
            assert (await store.put(again)).id == known.id
        assert (await store.depth()).messages == {("sms", "queued"): 5 * TENTH, ("sms", "uncertain"): TENTH}

        assert sorted(await send_all(store)) == [n for n in range(MESSAGES) if n % 10 < 5]
        acknowledged = await call_all_back(store)
        assert sorted(acknowledged) == [(n, "accepted") for n in range(MESSAGES) if n % 10 < 5 or n % 10 == 7]
        event = StatusEvent(status=Status.DELIVERED, provider_id="provider-uid-6")
        assert (await store.record(ReportedEvents(instance="relay", events=[event]))).new == 1
        assert await call_all_back(store) == [(6, "delivered")]
        clock.advance(3600)
        while (await store.sweep()).requeued:
            pass
        assert len(await send_all(store)) == TENTH

        order = ForgetOrder(("brand", "user-6"), "root")
        while not (progress := await store.cancel(forget.forget, order)).done:
            order = order._replace(progress=progress)
        assert await count(store, "messages", "ext_user_id = 'user-6'") == 0
    async with old_place.opened(retention=60.0) as store:
        await call_all_back(store)
        clock.advance(61)
        while await store.prune():
            pass
        assert await count(store, "messages") == 0
        assert await count(store, "suppressions") == 1
