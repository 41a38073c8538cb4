"""Statistics with two replicas on one PostgreSQL database, which count and add up at the same time."""

import asyncio
from contextlib import AsyncExitStack

import msgspec
import pytest
from sqlalchemy import func, select, text

from claiming import claim_due, result_of
from gatepost.model import Channel, Secret, Status, StatusEvent
from gatepost.outbox import Policy, ReportedEvents, Try, open_outbox, sqlite, statistics
from gatepost.outbox.driver_errors import ConnectionLost
from gatepost.outbox.schema import messages
from gatepost.outbox.schema import statistics as table

MESSAGES = 120


@pytest.fixture
async def replicas(postgres_server, tmp_path, clock):
    """Yield two replicas on the test's clock."""
    url = Secret(postgres_server.new_database())
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(open_outbox(url, tmp_path, Policy())) for _ in range(2)]
        for outbox in opened:
            outbox._now = sqlite.database_clock(clock)
        yield opened


async def read(outbox, query):
    return await outbox._database.transact(lambda connection: connection.execute(query).all())


async def counts(outbox, hours=24):
    """Return the sums of the lanes together with those of the days, or of the hours, to which they are added."""
    query = select(table.c.counted, func.sum(table.c.value)).group_by(table.c.counted)
    query = query.where((table.c.hours == hours) | (table.c.shard != ""))
    return {counted: int(value) for counted, value in await read(outbox, query)}


async def send_and_report(outbox):
    """Send what is due, one part after the other, and report each part's delivery."""
    while claims := await claim_due(outbox, Channel.SMS, 5, 30.0):
        tries = [Try(instance="eu", outcome="sent", parts=2)]
        results = [msgspec.structs.replace(result_of(one, instance="eu"), tries=tries) for one in claims]
        assert all(await asyncio.gather(*(outbox.finish(one) for one in results)))
        for one in claims:
            event = StatusEvent(status=Status.DELIVERED, message_id=one.id)
            await outbox.record(
                ReportedEvents(instance="eu", events=[event], channels=frozenset({Channel.SMS}))
            )


async def add_up(outbox, until):
    while not until.done():
        await outbox.change(statistics.roll_up, None)


async def test_no_count_is_lost_while_two_replicas_count_and_add_up(replicas, clock, new):
    for number in range(MESSAGES):
        await replicas[number % 2].put(new(f"uid-{number}", channel=Channel.SMS, route=f"route-{number % 3}"))
    # A backlog: what is counted now is of hours that are added up.
    clock.advance(3 * 3_600)
    work = asyncio.gather(*(send_and_report(outbox) for outbox in replicas for _ in range(3)))
    await asyncio.gather(work, *(add_up(outbox, work) for outbox in replicas for _ in range(2)))

    expected = {"stored": MESSAGES, "accepted": MESSAGES, "delivered": MESSAGES, "parts": 2 * MESSAGES}
    assert await counts(replicas[0]) == expected
    while await replicas[1].change(statistics.roll_up, None):
        pass
    assert await counts(replicas[0]) == await counts(replicas[0], hours=1) == expected
    assert {row.shard for row in await read(replicas[0], select(table.c.shard))} == {""}


async def test_a_result_whose_commit_is_repeated_is_counted_once(replicas, put_and_claim, monkeypatch):
    """The connection may be lost after the commit and before its answer: then the same work is done again."""
    outbox = replicas[0]
    claim = await put_and_claim(outbox, channel=Channel.SMS)
    transact = outbox._database.transact

    async def lose_answer(work):
        await transact(work)
        monkeypatch.setattr(outbox._database, "transact", transact)
        raise ConnectionLost("lost")

    monkeypatch.setattr(outbox._database, "transact", lose_answer)
    tries = [Try(instance="eu", outcome="sent", counted_parts=2, price="0.05", currency="EUR")]
    assert await outbox.finish(msgspec.structs.replace(result_of(claim, instance="eu"), tries=tries))
    assert await counts(outbox) == {"stored": 1, "accepted": 1, "counted parts": 2, "price EUR": 50_000}


async def test_adding_up_waits_for_no_message_that_another_replica_has_locked(replicas, clock, new):
    """That replica may wait for the rows that are added up."""
    one, other = replicas
    message = new()
    await one.put(message)
    locked = asyncio.Event()
    lock = select(messages.c.id).where(messages.c.id == message.id).with_for_update()
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    runs = []

    def count(tx, items):
        statistics.add(tx, statistics.STORED, created_at=tx.now - 4 * statistics.HOUR, queue=1, country="")
        return items

    def lock_and_count(tx, items):
        runs.append("one")
        tx.connection.execute(lock)
        locked.set()
        while not tx.connection.execute(waiting).scalar_one():
            tx.connection.execute(text("SELECT pg_sleep(0.01), pg_stat_clear_snapshot()"))
        return count(tx, items)

    def lock_message(tx, items):
        runs.append("other")
        tx.connection.execute(lock)
        return items

    await one.change(count, None)
    task = asyncio.create_task(one.change(lock_and_count, None))
    await locked.wait()
    await asyncio.gather(other.change(statistics.roll_up, None), other.change(lock_message, None), task)
    # A transaction that the server ends because of a deadlock is repeated.
    assert runs == ["one", "other"]
    assert await counts(one) == {"stored": 3}
