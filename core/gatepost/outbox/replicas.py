"""The gateways that work on the store: each writes again and again that it is there."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, delete, select, update

from gatepost.outbox.status_schema import replicas
from gatepost.outbox.transaction import Transaction

GONE_AFTER = 60.0
"""Seconds after which a replica that was not seen is gone."""

KEPT = 3600.0
"""Seconds for which a replica that is gone is shown. One that was stopped is forgotten at once."""


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """One gateway; times in seconds since the epoch, by the clock of the store."""

    host: str
    """The name of its machine."""
    version: str
    started_at: float
    seen_at: float
    age: float
    """Seconds since it was seen."""

    @property
    def is_gone(self) -> bool:
        """Whether it was not seen for GONE_AFTER seconds: it died, or can't reach the store."""
        return self.age >= GONE_AFTER


class Sign(msgspec.Struct, frozen=True):
    """A sign of life of this process."""

    host: str
    version: str


def note(tx: Transaction, signs: Sequence[Sign]) -> list[None]:
    """Note that this process is there, and forget those that are gone for KEPT seconds."""
    seen = update(replicas).where(replicas.c.holder == tx.holder).values(seen_at=tx.now)
    if not tx.connection.execute(seen).rowcount:
        sign = signs[0]
        row = {"holder": tx.holder, "host": sign.host, "version": sign.version}
        tx.insert_new(replicas, [{**row, "started_at": tx.now, "seen_at": tx.now}])
    tx.connection.execute(delete(replicas).where(replicas.c.seen_at < tx.after(-KEPT)))
    return [None] * len(signs)


def forget(tx: Transaction, items: Sequence[None]) -> list[None]:
    """Forget this process, which stops."""
    tx.connection.execute(delete(replicas).where(replicas.c.holder == tx.holder))
    return [None] * len(items)


def find(connection: Connection, now: int) -> list[Replica]:
    """Return the replicas that are there and those that are gone, the oldest first; ``now`` in milliseconds."""
    # A process that is not seen deletes nothing, not even its own row.
    query = (
        select(replicas)
        .where(replicas.c.seen_at >= now - 1000 * KEPT)
        .order_by(replicas.c.started_at, replicas.c.holder)
    )
    return [
        Replica(
            host=row.host,
            version=row.version,
            started_at=row.started_at / 1000,
            seen_at=row.seen_at / 1000,
            age=max(0.0, (now - row.seen_at) / 1000),
        )
        for row in connection.execute(query)
    ]
