"""The figures of the store that a scrape of the metrics reads, in one transaction."""

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import text

from gatepost.outbox import limits, queries
from gatepost.outbox.limits import UsedLimit
from gatepost.outbox.queries import QueueDepth
from gatepost.outbox.records import Limit
from gatepost.outbox.transaction import Transaction


class StoreGauges(msgspec.Struct, frozen=True, kw_only=True):
    """The figures at one moment."""

    depth: QueueDepth
    limits: Sequence[UsedLimit]
    size: int
    """Bytes of the database; of SQLite's without its write-ahead log."""


def read(tx: Transaction, orders: Sequence[Mapping[str, Limit]]) -> list[StoreGauges]:
    """Read the figures, with those of each order's limits, which are given by their keys in the configuration.

    It reads nothing of messages that have ended.
    """
    depth, size = queries.depth(tx.connection, tx.now), _size(tx)
    return [
        StoreGauges(depth=depth, limits=limits.used(tx.connection, tx.now, order), size=size)
        for order in orders
    ]


_sqlite_size = text("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
_postgresql_size = text("SELECT pg_database_size(current_database())")


def _size(tx: Transaction) -> int:
    size = tx.connection.execute(_postgresql_size if tx.on_postgresql else _sqlite_size).scalar_one()
    return int(size)
