"""Numbers that are changed in the commit of what they count, so that they are always exact.

A change is noted in the transaction, and all changes of a transaction are written with one statement at its end. On
PostgreSQL each lane of each process adds to rows of its own, so that no transaction waits for another; a number is
the sum of its rows.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from sqlalchemy import Connection, bindparam, delete, func, select

from gatepost.outbox.one_of import IDS, one_of
from gatepost.outbox.schema import counters
from gatepost.outbox.transaction import CounterKey, Transaction, dialect_pair

DAY = 86_400_000
"""Milliseconds of a calendar day (UTC)."""

PRUNE_BATCH = 1_000
"""Rows that one call of ``prune`` deletes at most."""

ALL_SHARDS = ""
"""The shard of what was counted by processes that may be gone; on SQLite, with its single writer, the only one."""


def start_of_day(tx: Transaction) -> int:
    """Return the period of numbers that are counted by day: the beginning of the day (UTC)."""
    return tx.now - tx.now % DAY


def queued(client: str) -> CounterKey:
    """Return the key of the number of a client's messages that are not at their end."""
    return 0, f"queued/{client}"


def add(tx: Transaction, key: CounterKey, amount: int) -> None:
    """Change a number in this transaction."""
    tx.counter_changes[key] = tx.counter_changes.get(key, 0) + amount


_select_sums = dialect_pair(
    lambda _: (
        select(counters.c.period, counters.c.scope, func.sum(counters.c.value))
        .where(one_of(counters.c.period, bindparam("periods")), one_of(counters.c.scope, IDS))
        .group_by(counters.c.period, counters.c.scope)
    )
)


def read(tx: Transaction, keys: Iterable[CounterKey]) -> dict[CounterKey, int]:
    """Return these numbers, with the changes of this transaction."""
    values = {key: tx.counter_changes.get(key, 0) for key in keys}
    periods = sorted({period for period, _ in values})
    scopes = sorted({scope for _, scope in values})
    for period, scope, value in tx.select_by_ids(_select_sums, scopes, periods=periods):
        if (period, scope) in values:
            values[period, scope] += int(value)
    return values


def totals(connection: Connection, keys: Collection[CounterKey]) -> dict[CounterKey, int]:
    """Return these numbers as they are stored; one that was never counted is left out."""
    periods, scopes = ({key[place] for key in keys} for place in (0, 1))
    query = (
        select(counters.c.period, counters.c.scope, func.sum(counters.c.value))
        .where(one_of(counters.c.period, sorted(periods)), one_of(counters.c.scope, sorted(scopes)))
        .group_by(counters.c.period, counters.c.scope)
    )
    found = {(period, scope): int(value) for period, scope, value in connection.execute(query)}
    return {key: found[key] for key in keys if key in found}


def write_changes(tx: Transaction) -> None:
    """Write the changes of this transaction. To be called at its end."""
    changes = {key: amount for key, amount in tx.counter_changes.items() if amount}
    if changes:
        tx.add_up(counters, _rows(changes, tx.shard))


def _rows(changes: Mapping[CounterKey, int], shard: str) -> list[dict[str, object]]:
    return [
        {"period": period, "scope": scope, "shard": shard, "value": amount}
        for (period, scope), amount in sorted(changes.items())
    ]


def prune(tx: Transaction) -> int:
    """Delete numbers of days before yesterday, at most PRUNE_BATCH rows; return how many."""
    key = counters.c.period, counters.c.scope, counters.c.shard
    # Yesterday's rows stay: the clock may go back a little.
    is_old = (counters.c.period > 0) & (counters.c.period < start_of_day(tx) - DAY)
    old = tx.with_lock(select(*key).where(is_old).order_by(*key).limit(PRUNE_BATCH), skip_locked=True)
    return _delete(tx, tx.connection.execute(old).all())


_delete_row = delete(counters).where(
    counters.c.period == bindparam("of_period"),
    counters.c.scope == bindparam("of_scope"),
    counters.c.shard == bindparam("of_shard"),
)


def _delete(tx: Transaction, keys: Sequence[Sequence[object]]) -> int:
    if keys:
        tx.execute_many(
            _delete_row,
            [{"of_period": period, "of_scope": scope, "of_shard": shard} for period, scope, shard in keys],
        )
    return len(keys)


_delete_by_scope = dialect_pair(
    lambda _: delete(counters).where(
        one_of(counters.c.period, bindparam("periods")), one_of(counters.c.scope, IDS)
    )
)


def erase_daily(tx: Transaction, scopes: Sequence[str]) -> None:
    """Delete the daily numbers of these scopes, on every day that is stored."""
    tx.execute(_delete_by_scope, ids=scopes, periods=stored_days(tx.now))


def stored_days(now: int) -> list[int]:
    """Return the periods of the daily numbers that ``prune`` leaves, the last of them if the clock went back."""
    today = now - now % DAY
    return [today - DAY, today, today + DAY]


def roll_up(tx: Transaction) -> None:
    """Move numbers without a period from the shards of all processes to one.

    For the start of a process on PostgreSQL: otherwise each start would leave rows for ever. It is correct whether the
    other processes still run or not: a lane whose row is gone inserts it again. Only one process at a time may do it.
    """
    key = counters.c.period, counters.c.scope, counters.c.shard
    others = select(*key, counters.c.value).where(counters.c.period == 0, counters.c.shard != ALL_SHARDS)
    # A locked row belongs to a process that is running, so it need not be moved now.
    rows = tx.connection.execute(tx.with_lock(others, skip_locked=True)).all()
    for row in rows:
        add(tx, (row.period, row.scope), row.value)
    _delete(tx, [(row.period, row.scope, row.shard) for row in rows])
    write_changes(tx)
