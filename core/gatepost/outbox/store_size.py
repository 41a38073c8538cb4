"""The size of the store, and how fast it grows: it is measured once a day."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from sqlalchemy import Connection, delete, select, text

from gatepost.outbox.counters import DAY
from gatepost.outbox.status_schema import store_sizes
from gatepost.outbox.transaction import Transaction

GROWTH_DAYS = 7
"""Days over which the growth is averaged, where the store was measured for so long."""

_KEPT = 31 * DAY

_LARGEST_TABLES = 3


class StoreSize(msgspec.Struct, frozen=True, kw_only=True):
    """The size of the store; in bytes."""

    total: int
    """On SQLite of the file and its write-ahead log; on PostgreSQL of the whole database."""
    wal: int = 0
    """Of the write-ahead log beside an SQLite file."""
    tables: Mapping[str, int] = {}
    """On PostgreSQL, the largest tables with their indexes."""
    per_day: float | None = None
    """By how much it grew each day, of the last GROWTH_DAYS days; None on the first day."""


def find(connection: Connection, now: int) -> StoreSize:
    """Measure the store, and read how fast it grows; ``now`` is in milliseconds since the epoch."""
    size = _measure(connection)
    first = connection.execute(
        select(store_sizes.c.measured_at, store_sizes.c.bytes)
        .where(store_sizes.c.measured_at >= now - GROWTH_DAYS * DAY)
        .order_by(store_sizes.c.day)
        .limit(1)
    ).first()
    if first is None or now - first.measured_at < DAY:
        return size
    days = (now - first.measured_at) / DAY
    return msgspec.structs.replace(size, per_day=(size.total - first.bytes) / days)


def sample(tx: Transaction, items: Sequence[None]) -> list[None]:
    """Note the size of the store, unless it was noted today."""
    day = tx.now - tx.now % DAY
    noted = select(store_sizes.c.day).where(store_sizes.c.day == day)
    if tx.connection.execute(noted).first() is None:
        size = _measure(tx.connection).total
        tx.insert_new(store_sizes, [{"day": day, "measured_at": tx.now, "bytes": size}])
        tx.connection.execute(delete(store_sizes).where(store_sizes.c.day < tx.now - _KEPT))
    return [None] * len(items)


def _measure(connection: Connection) -> StoreSize:
    if connection.dialect.name == "sqlite":
        return _measure_files(connection)
    total = connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
    tables = connection.execute(
        text(
            "SELECT relname, pg_total_relation_size(oid) AS size FROM pg_class"
            " WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'"
            " ORDER BY size DESC LIMIT :limit"
        ),
        {"limit": _LARGEST_TABLES},
    )
    return StoreSize(total=total, tables={row.relname: row.size for row in tables})


def _measure_files(connection: Connection) -> StoreSize:
    pages, page_size = (
        connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("page_count", "page_size")
    )
    # The first one is the file; another one may be that of temporary tables.
    path = connection.exec_driver_sql("PRAGMA database_list").all()[0][2]
    try:
        wal = Path(f"{path}-wal").stat().st_size
    except OSError:
        wal = 0
    return StoreSize(total=pages * page_size + wal, wal=wal)
