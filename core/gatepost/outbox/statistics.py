"""How many messages got which status, by hour, queue, country and instance. They stay when the messages are forgotten.

A message counts for the hour in which it was accepted, and so does everything that is known of it later: of the messages
of one hour, so many were delivered. The counts are changed in the commit that stores what they count. Each lane of each
process adds to rows of its own, as with ``counters``. ``roll_up`` moves those later: what they count is then both in a row of
the hour and in one of the day, so that a report reads a day as a day. Old hours are deleted.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Context, Decimal, InvalidOperation
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, delete, literal_column, select

from gatepost.outbox.counters import ALL_SHARDS, DAY
from gatepost.outbox.schema import statistics
from gatepost.outbox.transaction import Record, StatisticsKey, Transaction

HOUR = 3_600_000
"""Milliseconds."""

HOURS_KEPT = 8 * DAY
"""Milliseconds after which the hours of a day are deleted."""

DAYS_KEPT = 1_096 * DAY
"""Milliseconds after which days are deleted: three years."""

SETTLED = 2 * HOUR
"""Milliseconds after which the rows of an hour are hardly changed any more, so that they are worth adding up."""

ROLL_UP_BATCH = 1_000
"""Rows of each kind that one call of ``roll_up`` moves or deletes at most."""

SINGLE_LANE = "lane"
"""The shard of the lane on SQLite, which has one alone."""

PRICE_UNITS = 1_000_000
"""A price, which has at most six decimals, is counted in units of this part of its currency, so that sums are exact.

Not finer: nine million messages at MAX_PRICE still fit into a row, and a number that does not fit would make the store refuse
the results of these sends.
"""

EXACT = Context(prec=60)
"""For all sums of prices. The context of the process is not used: a plugin may have changed it."""

MAX_PRICE = 1_000_000
"""A price of one message above this is a mistake of its provider, and is not counted."""

STORED = "stored"
"""Counts the messages that the gateway accepted from Smartico."""

ACCEPTED_AGAIN = "accepted again"
"""Counts the messages that an instance took after another one of a route with ``next_after``.

``accepted`` counts a message once. The messages that an instance took are both together.
"""

PARTS = "parts"
"""Counts the parts of text messages, as the providers say them."""

COUNTED_PARTS = "counted parts"
"""Counts the parts of the other text messages, as the gateway counts them."""

PRICE = "price "
"""Before a currency: counts prices, in units of the currency / PRICE_UNITS."""


def add(
    tx: Transaction,
    what: str,
    *,
    created_at: int,
    queue: int,
    country: str,
    instance: str = "",
    amount: int = 1,
) -> None:
    """Count something of a message in this transaction: a constant of this module, a status, or ``price_in`` a currency.

    ``created_at`` is in milliseconds since the epoch; ``instance`` had the message: empty where none has had it.
    """
    key = StatisticsKey(created_at - created_at % HOUR, queue, country, instance, what)
    tx.statistics_changes[key] = tx.statistics_changes.get(key, 0) + amount


def add_of(tx: Transaction, message: Record, instance: str, what: str, amount: int = 1) -> None:
    """Count something of a message whose ``created_at``, ``queue`` and ``country`` are in its row."""
    created_at: int = message.created_at
    key = StatisticsKey(created_at - created_at % HOUR, message.queue, message.country, instance, what)
    tx.statistics_changes[key] = tx.statistics_changes.get(key, 0) + amount


def price_in(currency: str) -> str:
    """Return what is counted for prices in a currency."""
    return PRICE + currency


def price_units(price: str) -> int:
    """Return a price, a decimal number, in units of the currency / PRICE_UNITS; 0 where it can't be counted."""
    try:
        amount = Decimal(price)
    except InvalidOperation:
        return 0
    if not amount.is_finite() or amount.copy_abs() > MAX_PRICE:
        return 0
    return int(EXACT.to_integral_value(EXACT.multiply(amount, PRICE_UNITS)))


def write_changes(tx: Transaction) -> None:
    """Write what was counted in this transaction. To be called at its end."""
    if tx.statistics_changes:
        _write(tx, tx.statistics_changes.items(), tx.shard or SINGLE_LANE, hours=1)


def _write(tx: Transaction, changes: Iterable[tuple[StatisticsKey, int]], shard: str, *, hours: int) -> None:
    rows = [
        {"hours": hours, **key._asdict(), "shard": shard, "value": amount}
        for key, amount in sorted(changes)
        if amount
    ]
    if rows:
        tx.add_up(statistics, rows)


_KEY = tuple(statistics.primary_key)
_COLUMNS = StatisticsKey._fields
_delete_row = delete(statistics).where(*(one == bindparam(f"of_{one.name}") for one in _KEY))


def roll_up(tx: Transaction, items: Sequence[None]) -> list[int]:
    """Add the lanes' rows of settled hours to the hours and to the days; delete old hours, and days older than DAYS_KEPT.

    At most ROLL_UP_BATCH rows of each; each result says how many there were. It is correct whether other processes count
    meanwhile or not: a lane whose row is gone inserts it again.

    To be the last work of its transaction. A lane of another process may wait for these rows with messages locked, so from
    now on this transaction waits for nothing but other calls of this function, which take the rows in the same order.
    """
    now = tx.now
    write_changes(tx)
    tx.statistics_changes.clear()
    first = first_hour(now)
    moved = _move(tx, and_(IN_LANE, statistics.c.period < now - SETTLED), first)
    is_hour = and_(statistics.c.hours == 1, statistics.c.shard == ALL_SHARDS)
    moved += _delete(tx, and_(is_hour, statistics.c.period < first))
    old_day = and_(statistics.c.hours == 24, statistics.c.period < now - DAYS_KEPT)
    return [moved + _delete(tx, old_day)] * len(items)


def first_hour(now: int) -> int:
    """Return the moment since which there are hours; ``now`` in milliseconds since the epoch, as the result."""
    return now - now % DAY - HOURS_KEPT


IN_LANE = statistics.c.shard != literal_column("''")
"""Whether a row is a lane's: what it counts is in no other. A literal, as in the condition of the partial index."""


def _batch(query: Select[Any], which: ColumnElement[bool]) -> Select[Any]:
    # In the order of an index that holds only such rows: PostgreSQL might prefer to read the whole table in its order.
    return query.where(which).order_by(statistics.c.period).limit(ROLL_UP_BATCH)


def _move(tx: Transaction, which: ColumnElement[bool], first: int) -> int:
    """Move these rows to those of the hours, of which there are some since ``first``, and of the days."""
    # A locked row belongs to a process that counts now, so it need not be moved now.
    query = _batch(select(statistics), which)
    rows = tx.connection.execute(tx.with_lock(query, skip_locked=True)).all()
    hours: Counter[StatisticsKey] = Counter()
    days: Counter[StatisticsKey] = Counter()
    for row in rows:
        key = StatisticsKey(*(getattr(row, name) for name in _COLUMNS))
        if key.period >= first:
            hours[key] += row.value
        days[key._replace(period=key.period - key.period % DAY)] += row.value
    if rows:
        tx.execute_many(
            _delete_row, [{f"of_{one.name}": getattr(row, one.name) for one in _KEY} for row in rows]
        )
        _write(tx, hours.items(), ALL_SHARDS, hours=1)
        _write(tx, days.items(), ALL_SHARDS, hours=24)
    return len(rows)


def _delete(tx: Transaction, which: ColumnElement[bool]) -> int:
    query = _batch(select(*_KEY), which)
    rows = tx.connection.execute(tx.with_lock(query, skip_locked=True)).all()
    if rows:
        tx.execute_many(
            _delete_row, [{f"of_{one.name}": getattr(row, one.name) for one in _KEY} for row in rows]
        )
    return len(rows)
