"""The figures of the store that a scrape of the metrics reads, in one transaction."""

from collections.abc import Mapping, Sequence

import msgspec

from gatepost.outbox import limits, queries, store_size, warmups
from gatepost.outbox.limits import UsedLimit
from gatepost.outbox.queries import QueueDepth
from gatepost.outbox.records import Limit
from gatepost.outbox.transaction import Transaction
from gatepost.outbox.warmups import WarmupView


class StoreGauges(msgspec.Struct, frozen=True, kw_only=True):
    """The figures at one moment."""

    depth: QueueDepth
    limits: Sequence[UsedLimit]
    size: int
    """Bytes of the database."""
    warmups: Sequence[WarmupView]


def read(tx: Transaction, orders: Sequence[Mapping[str, Limit]]) -> list[StoreGauges]:
    """Read the figures, with those of each order's limits, which are given by their keys in the configuration.

    It reads nothing of messages that have ended.
    """
    depth, size = queries.depth(tx.connection, tx.now), store_size.find(tx.connection, tx.now).total
    found = warmups.find(tx.connection)
    return [
        StoreGauges(depth=depth, limits=limits.used(tx.connection, tx.now, order), size=size, warmups=found)
        for order in orders
    ]
