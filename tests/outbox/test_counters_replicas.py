"""Counters and limits with several replicas on one PostgreSQL database."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from sqlalchemy import func, select, text

from claiming import from_noon
from gatepost.errors import ConfigError
from gatepost.model import Secret
from gatepost.outbox import Limit, Policy, StoredMessage, counters, open_outbox
from gatepost.outbox.driver_errors import ConnectionLost
from gatepost.outbox.schema import counters as table

LIMIT = Limit("email_per_day/brand", 50, "the client's email_per_day")
IN_FLIGHT = 8
"""Requests in flight at each replica."""


@pytest.fixture
def replica(postgres_server, tmp_path):
    """Return a function that opens one more replica."""
    url = Secret(postgres_server.new_database())

    @asynccontextmanager
    async def opened():
        async with open_outbox(url, tmp_path, Policy()) as outbox:
            outbox._now = from_noon
            yield outbox

    return opened


async def put_one_by_one(outbox, new, name, count):
    """Store messages one after the other; return how many were accepted."""
    results = [await outbox.put(new(f"{name}-{number}", limits=[LIMIT])) for number in range(count)]
    return sum(isinstance(result, StoredMessage) for result in results)


async def queued(outbox):
    key = counters.queued("brand")
    return await outbox._accept_lane.run(lambda tx, _: [counters.read(tx, [key])[key]], None)


async def test_replicas_never_exceed_a_cap_by_more_than_the_requests_in_flight(replica, new):
    async with replica() as one, replica() as other:
        accepted = await asyncio.gather(
            *(
                put_one_by_one(outbox, new, f"{number}-{lane}", 20)
                for number, outbox in enumerate((one, other))
                for lane in range(IN_FLIGHT)
            )
        )
        assert LIMIT.cap <= sum(accepted) <= LIMIT.cap + 2 * IN_FLIGHT
        assert await queued(one) == await queued(other) == sum(accepted)
        for outbox in one, other:
            assert await put_one_by_one(outbox, new, "later", 3) == 0


async def test_a_message_that_two_replicas_get_is_counted_once(replica, new):
    async with replica() as one, replica() as other:
        await asyncio.gather(
            *(
                outbox.put(new(f"uid-{number}", limits=[LIMIT]))
                for number in range(40)
                for outbox in (one, other)
            )
        )
        assert await queued(one) == 40


async def test_a_replica_that_starts_rolls_up_the_counters_of_others_that_go_on(replica, new):
    async with replica() as one:
        task = asyncio.create_task(put_one_by_one(one, new, "uid", 40))
        async with AsyncExitStack() as stack:
            for _ in range(6):
                last = await stack.enter_async_context(replica())
            assert await task == 40
            assert await queued(last) == await queued(one) == 40
    async with replica() as last:
        query = select(func.count()).select_from(table).where(table.c.period == 0)
        rows = await last._accept_lane.run(lambda tx, _: [tx.connection.execute(query).scalar_one()], None)
        assert (await queued(last), rows) == (40, 1)


async def test_a_message_whose_commit_is_repeated_is_counted_once(replica, new, monkeypatch):
    """The connection may be lost after the commit and before its answer: then the same work is done again."""
    async with replica() as one:
        transact = one._database.transact

        async def lose_answer(work):
            await transact(work)
            monkeypatch.setattr(one._database, "transact", transact)
            raise ConnectionLost("lost")

        monkeypatch.setattr(one._database, "transact", lose_answer)
        message = new(limits=[LIMIT])
        assert (await one.put(message)).id == message.id
        assert one._database.transact == transact
        assert await queued(one) == 1
        limits = select(func.sum(table.c.value)).where(table.c.scope == LIMIT.scope)
        assert await one._accept_lane.run(lambda tx, _: [tx.connection.execute(limits).scalar()], None) == 1


async def test_counters_that_can_not_be_rolled_up_are_a_fault_of_the_store(replica, new):
    async with replica() as one:
        await one.put(new("uid", limits=[LIMIT]))
        refuse = (
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'canary' USING ERRCODE = 'disk_full'; END $$"
        )
        trigger = "CREATE TRIGGER refuse BEFORE INSERT ON counters FOR EACH ROW EXECUTE FUNCTION refuse()"
        for statement in (refuse, trigger):
            await one._database.transact(lambda connection, one=statement: connection.execute(text(one)))

        with pytest.raises(ConfigError, match="the database: the database has no disk space"):
            async with replica():
                pass
