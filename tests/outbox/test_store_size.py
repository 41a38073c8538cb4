"""The size of the store and its growth."""

import pytest
from sqlalchemy import update

from gatepost.outbox import store_size
from gatepost.outbox.status_schema import store_sizes

BOTH_STORES = pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def find(store, clock):
    """Return a function that measures the store at the test's time."""

    async def find():
        now = round(clock.now * 1000)
        return await store._database.transact(lambda connection: store_size.find(connection, now))

    return find


async def make_smaller(store, size):
    """Pretend that the store was smaller by so many bytes at all its measurements."""
    change = update(store_sizes).values(bytes=store_sizes.c.bytes - size)
    await store._database.transact(lambda connection: connection.execute(change))


@BOTH_STORES
async def test_the_growth_is_that_of_each_day_and_known_after_the_first(store, find, clock):
    await store.change(store_size.sample, None)
    clock.advance(86_399)
    assert (await find()).per_day is None
    await make_smaller(store, 6_000_000)
    clock.advance(1 + 86_400)
    # Two days; what the tables of the test themselves need is little.
    assert (await find()).per_day == pytest.approx(3_000_000, abs=200_000)


@BOTH_STORES
async def test_each_day_is_measured_once_and_a_month_is_kept(store, clock):
    for _ in range(80):
        await store.change(store_size.sample, None)
        clock.advance(43_200)
    rows = await store._database.transact(
        lambda connection: connection.execute(store_sizes.select().order_by(store_sizes.c.day)).all()
    )
    assert len(rows) in {31, 32}
    assert len({row.day for row in rows}) == len(rows)


async def test_on_sqlite_the_write_ahead_log_counts(store, find, tmp_path):
    await store.change(store_size.sample, None)
    size = await find()
    files = [(tmp_path / name).stat().st_size for name in ("outbox.db", "outbox.db-wal")]
    assert size.wal == files[1] > 0
    # Pages that are only in the log count too.
    assert size.total >= sum(files)


@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
async def test_on_postgresql_the_largest_tables_are_named(find):
    size = await find()
    assert len(size.tables) == 3
    assert size.total > sum(size.tables.values())
