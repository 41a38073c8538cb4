"""The dead letters of the callbacks, and the errors among the newest tries, as the console's pages read them."""

from functools import partial

import pytest
from sqlalchemy import insert, update

from gatepost.outbox import dead_callbacks, try_errors
from gatepost.outbox.dead_callbacks import Place, Selection
from gatepost.outbox.overview import callback_overview
from gatepost.outbox.schema import attempts, statuses

BOTH_STORES = pytest.mark.parametrize(
    "place", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)


async def transact(store, work):
    return await store._database.transact(work)


@pytest.fixture
async def dead(store, new, clock):
    """Return the ids of six messages, each with a dead letter: of two clients, to two hosts."""
    ids = []
    for number in range(6):
        client = "brand" if number < 4 else "other"
        host = "https://crm.example/s" if number % 2 else "https://old.example:8443/s"
        one = new(f"uid-{number}", client=client, callback_url=host)
        await store.put(one)
        ids.append(one.id)
        row = {
            "message_id": one.id,
            "status": "accepted",
            "code": "",
            "recorded_at": round(clock.now * 1000),
            "reporter": "",
            "callback_state": "dead",
            "due_at": None,
            "attempt": 8,
            "holder": "",
            "client": client,
            "target": "crm.example:443" if number % 2 else "old.example:8443",
            "called_at": round(clock.now * 1000) + number,
            "http_status": 500,
            "problem": "HTTP 500",
        }
        await transact(store, lambda connection, row=row: connection.execute(insert(statuses), row))
    return ids


@BOTH_STORES
async def test_dead_letters_are_read_page_by_page_by_client_and_host(store, dead):
    first = await transact(store, lambda connection: dead_callbacks.page(connection, 4))
    last = first[-1]
    after = Place(last.client, last.target, last.seq)
    second = await transact(store, lambda connection: dead_callbacks.page(connection, 4, after=after))

    assert [dead.index(one.message_id) for one in (*first, *second)] == [1, 3, 0, 2, 5, 4]


@BOTH_STORES
async def test_dead_letters_of_some_clients_and_to_one_host(store, dead):
    read = partial(dead_callbacks.page, limit=9, clients=["other"], target="crm.example:443")

    assert [one.message_id for one in await transact(store, read)] == [dead[5]]
    found = await transact(store, lambda connection: callback_overview(connection, 0, ["other"]))
    assert (found.dead, [one.client for one in found.targets]) == (2, ["other", "other"])


@BOTH_STORES
async def test_a_selection_holds_what_had_been_given_up_until_then(store, dead, clock):
    until = round(clock.now * 1000) + 2

    async def selected(selection, limit=9):
        ids = await transact(
            store, lambda connection: dead_callbacks.selected_ids(connection, selection, limit)
        )
        return sorted(map(dead.index, ids))

    assert await selected(Selection(until)) == [0, 1, 2]
    assert await selected(Selection(until, ["brand"], "old.example:8443")) == [0, 2]
    assert await selected(Selection(until, ["other"])) == []
    assert len(await selected(Selection(until), limit=2)) == 2


@BOTH_STORES
async def test_a_selection_to_a_host_also_holds_what_waits_for_its_next_attempt(store, dead, clock):
    waits = {"callback_state": "queued", "due_at": round(clock.now * 1000) + 36_000_000}
    for number, attempt in ((0, 3), (2, 0)):
        changed = (
            update(statuses).where(statuses.c.message_id == dead[number]).values(**waits, attempt=attempt)
        )
        await transact(store, lambda connection, changed=changed: connection.execute(changed))

    async def selected(selection):
        ids = await transact(store, lambda connection: dead_callbacks.selected_ids(connection, selection, 9))
        return sorted(map(dead.index, ids))

    until = round(clock.now * 1000) + 9
    # The other one that waits has not failed, so it is made anyway.
    assert await selected(Selection(until, ["brand"], "old.example:8443", with_late=True)) == [0]
    assert await selected(Selection(until, ["brand"], "old.example:8443")) == []
    assert await selected(Selection(until, with_late=True)) == [0, 1, 3, 4, 5]


@BOTH_STORES
async def test_errors_are_counted_by_instance_and_code_of_the_last_hour_and_day(
    store, new, clock, monkeypatch
):
    now = round(clock.now * 1000)

    async def tried(uid, minutes, outcome, code, client="brand"):
        one = new(uid, client=client)
        await store.put(one)
        row = {column.name: "" for column in attempts.c} | {
            "message_id": one.id,
            "attempt": 1,
            "position": 0,
            "instance": "relay",
            "outcome": outcome,
            "code": code,
            "started_at": now - minutes * 60_000,
            "provider_id": None,
        }
        row |= {"duration": 1, "parts": 0, "counted_parts": 0}
        await transact(store, lambda connection: connection.execute(insert(attempts), row))

    await tried("a", 5 * 24 * 60, "rejected", "old")
    await tried("b", 120, "unavailable", "421")
    await tried("c", 5, "unavailable", "421")
    await tried("d", 5, "sent", "")
    await tried("e", 5, "rejected", "550", client="other")

    async def read(clients=()):
        return await transact(store, lambda connection: try_errors.newest_errors(connection, now, clients))

    found = await read()
    assert found.tries == 5
    assert [(one.code, one.outcome, one.hour, one.day) for one in found.errors] == [
        ("421", "unavailable", 1, 2),
        ("550", "rejected", 1, 1),
    ]
    assert [one.code for one in (await read(["other"])).errors] == ["550"]
    monkeypatch.setattr(try_errors, "NEWEST", 2)
    assert (await read()).tries == 2


async def test_there_may_be_no_try(store):
    assert await transact(store, lambda c: try_errors.newest_errors(c, 0)) == try_errors.NewestErrors(
        tries=0, since=None, errors=[]
    )
