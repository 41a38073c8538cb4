"""A store as an operator may find it: a million messages of a month, and the statistics of a year.

Most messages were sent and delivered. Some failed, are held or cancelled, callbacks were given up, and a campaign waits for a
relay that does not answer. The rows are those that the outbox would have written. They are written in bulk, because the way
through the outbox takes half an hour for a million.
"""

import asyncio
import random
import sqlite3
import time
from bisect import bisect
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import asyncpg
from driver import USERS, email

from gatepost.intake import requests
from gatepost.model import Channel, Secret
from gatepost.outbox import Policy, open_outbox, schema
from gatepost.outbox.statistics import COUNTED_PARTS, HOUR, PRICE_UNITS, SETTLED, STORED, first_hour, price_in
from gatepost.outbox.store_url import sqlite_path

CLIENTS = ("brand-a", "brand-b", "brand-c", "brand-d", "brand-e")
EMAIL_ROUTES = {"news": ("mailer", "mailer-b"), "service": ("mailer",), "campaign": ("relay",)}
SMS_ROUTES = {"offers": ("texts", "texts-b"), "codes": ("texts",)}
RELAY = "relay"
"""The instance that rests."""

COUNTRIES = (
    "DE", "FI", "SE", "NO", "PL", "AT", "CH", "NL", "BE", "FR", "ES", "PT", "IT", "GR", "CZ", "HU", "RO", "BG",
    "HR", "SI", "SK", "LT", "LV", "EE", "IE", "DK", "MT", "CY", "CA", "BR", "MX", "AR", "CL", "PE", "IN",
)  # fmt: skip

DAYS = 29
"""Days over which the messages are spread: with the default of delivery.retention none is deleted meanwhile."""

DAY = 24 * HOUR

PLAYERS = 200_000

DEAD_CALLBACKS = 3_000

STATISTICS_DAYS = 365

_REPEATED = 20
"""Days whose statistics are repeated for the time before them."""

SEED = 14


class Shape(NamedTuple):
    """How many messages a store has."""

    messages: int = 1_000_000
    waiting: int = 250_000
    """Those of them that wait for the relay, and came in the last hours."""
    held: int = 2_000


MILLION = Shape()


class _Queue(NamedTuple):
    id: int
    channel: Channel
    route: str
    client: str
    instances: Sequence[str]


def _queues() -> list[_Queue]:
    routes = [(Channel.EMAIL, EMAIL_ROUTES), (Channel.SMS, SMS_ROUTES)]
    names = [(channel, route, of[route]) for channel, of in routes for route in of]
    every = [(*one, client) for client in CLIENTS for one in names]
    return [_Queue(n, one[0], one[1], one[3], one[2]) for n, one in enumerate(every, 1)]


class _Ends(NamedTuple):
    """How a message ended: its state, the outcome of its try, its statuses, and what the try said."""

    state: str
    outcome: str
    statuses: Sequence[str]
    reason: str = ""
    code: str = ""


_ENDS: Sequence[tuple[float, _Ends]] = (
    (0.60, _Ends("sent", "sent", ("accepted", "delivered"))),
    (0.30, _Ends("sent", "sent", ("accepted", "delivered", "opened"))),
    (0.04, _Ends("sent", "sent", ("accepted",))),
    (0.02, _Ends("sent", "sent", ("accepted", "failed"), "", "mailbox_full")),
    (0.02, _Ends("rejected", "rejected", ("rejected",), "the provider refused it", "invalid")),
    (0.015, _Ends("failed", "unavailable", ("failed",), "HTTP 503", "503")),
    (0.005, _Ends("cancelled", "", ("rejected",), "cancelled by an operator")),
)
_WEIGHTS = list(accumulate(share for share, _ in _ENDS))


class Rows:
    """The rows of each table, some at a time."""

    def __init__(self, shape: Shape, now: int) -> None:
        """``now`` is in milliseconds since the epoch."""
        self._shape, self._now = shape, now
        self._random = random.Random(SEED)
        self._queues = _queues()
        self._content = requests.stored_content(requests.decode(Channel.EMAIL, email("fill", 0)))
        self._number = 0
        self._seq = 0
        self._dead = DEAD_CALLBACKS
        self._counts: Counter[tuple[int, int, str, str, str]] = Counter()
        self._rows: dict[str, list[tuple[object, ...]]] = {}
        self._statuses: list[tuple[object, ...]] = []

    def parts(self) -> Iterator[Mapping[str, Sequence[tuple[object, ...]]]]:
        """Yield rows by their tables, the oldest messages first."""
        yield {"queues": [(one.id, one.channel.value, one.route, one.client) for one in self._queues]}
        shape, now = self._shape, self._now
        ended = shape.messages - shape.waiting - shape.held
        places = [one for one in self._queues if one.instances != (RELAY,)]
        for day in range(DAYS, 0, -1):
            count = ended // DAYS + (ended % DAYS if day == 1 else 0)
            for created_at in self._moments(now - day * DAY, DAY, count):
                self._ended(created_at, self._random.choice(places))
            yield self._take()
        campaign = next(one for one in self._queues if one.route == "campaign" and one.client == "brand-b")
        for created_at in self._moments(now - 10 * HOUR, 9 * HOUR, shape.held):
            self._held(created_at, places[0])
        for number, created_at in enumerate(self._moments(now - 3 * HOUR, 3 * HOUR, shape.waiting), 1):
            self._waiting(created_at, campaign)
            if number % 50_000 == 0:
                yield self._take()
        yield self._take() | {"counters": self._counters(), "statistics": list(self._statistics())}

    def _moments(self, begin: int, length: int, count: int) -> Sequence[int]:
        return sorted(begin + int(self._random.random() * length) for _ in range(count))

    def _take(self) -> Mapping[str, Sequence[tuple[object, ...]]]:
        """Return the rows since the last call; statuses are numbered in the order in which they became known."""
        self._statuses.sort(key=lambda row: row[2])
        numbered = [(self._seq + n, *row) for n, row in enumerate(self._statuses, 1)]
        self._seq += len(numbered)
        rows, self._rows, self._statuses = self._rows | {"statuses": numbered}, {}, []
        return rows

    def _ended(self, created_at: int, queue: _Queue) -> None:
        end = _ENDS[min(bisect(_WEIGHTS, self._random.random()), len(_ENDS) - 1)][1]
        instance = self._random.choice(queue.instances) if end.outcome else ""
        country = self._country(queue)
        message_id = self._message(
            created_at, queue, country, end.state, instance, end, due_at=None, ended_at=created_at + 2_000
        )
        if end.outcome:
            self._try(message_id, queue, instance, end, created_at + 500)
        if end.state == "failed":
            self._add("contents", (message_id, self._content))
        for place, status in enumerate(end.statuses):
            self._status(message_id, queue, status, created_at + 2_000 + place * 60_000, instance, end.code)
            self._count(created_at, queue, country, instance, status)
        if end.state == "sent" and queue.channel is Channel.SMS:
            self._count(created_at, queue, country, instance, COUNTED_PARTS)
            self._count(created_at, queue, country, instance, price_in("EUR"), PRICE_UNITS * 7 // 100)

    def _held(self, created_at: int, queue: _Queue) -> None:
        end = _Ends("held", "uncertain", (), "no answer within 10 s", "timeout")
        message_id = self._message(
            created_at, queue, "", "held", queue.instances[0], end, due_at=created_at + DAY, ended_at=None
        )
        self._add("contents", (message_id, self._content))
        self._try(message_id, queue, queue.instances[0], end, created_at + 500)

    def _waiting(self, created_at: int, queue: _Queue) -> None:
        end = _Ends("queued", "", ())
        message_id = self._message(created_at, queue, "", "queued", "", end, due_at=created_at, ended_at=None)
        self._add("contents", (message_id, self._content))

    def _message(
        self,
        created_at: int,
        queue: _Queue,
        country: str,
        state: str,
        instance: str,
        end: _Ends,
        *,
        due_at: int | None,
        ended_at: int | None,
    ) -> str:
        self._number += 1
        message_id = _id(created_at, self._random.getrandbits(74))
        uid = str(UUID(int=self._random.getrandbits(128), version=4))
        user = (
            f"u{self._number % USERS}" if state == "queued" else f"player-{self._random.randrange(PLAYERS)}"
        )
        tried = int(bool(end.outcome))
        self._add(
            "messages",
            (message_id, queue.client, queue.channel.value, uid, queue.id, country, self._number.to_bytes(32, "big"),
             user, "", "https://crm.example/status", state, due_at, created_at, created_at + DAY, ended_at, tried,
             "gone" if tried else "", 2 if state == "held" else 0, "", 0, instance, end.reason, end.code),
        )  # fmt: skip
        self._count(created_at, queue, country, "", STORED)
        return message_id

    def _try(self, message_id: str, queue: _Queue, instance: str, end: _Ends, started_at: int) -> None:
        is_sms = end.outcome == "sent" and queue.channel is Channel.SMS
        self._add(
            "attempts",
            (message_id, 1, 0, instance, "", end.outcome, f"p{self._number:032x}" if end.outcome == "sent" else None,
             end.reason, end.code if end.outcome != "sent" else "", started_at, 180, 0, int(is_sms), "",
             "0.07" if is_sms else "", "EUR" if is_sms else ""),
        )  # fmt: skip

    def _status(
        self, message_id: str, queue: _Queue, status: str, recorded_at: int, instance: str, code: str
    ) -> None:
        # One client's host did not answer for a while.
        is_dead = queue.client == "brand-c" and self._dead > 0 and status == "delivered"
        self._dead -= is_dead
        state, calls, answer, problem = (
            ("dead", 12, 503, "the target answered 503") if is_dead else ("acknowledged", 1, 200, "")
        )
        reporter = instance if status in {"delivered", "opened"} else ""
        self._statuses.append(
            (message_id, status, code if status == "failed" else "", recorded_at, reporter, state, None, calls,
             "gone", queue.client, "crm.example:443", recorded_at + 100, answer, problem)
        )  # fmt: skip

    def _country(self, queue: _Queue) -> str:
        if queue.channel is not Channel.SMS:
            return ""
        return COUNTRIES[min(int(self._random.expovariate(0.15)), len(COUNTRIES) - 1)]

    def _add(self, table: str, row: tuple[object, ...]) -> None:
        self._rows.setdefault(table, []).append(row)

    def _count(
        self, created_at: int, queue: _Queue, country: str, instance: str, counted: str, amount: int = 1
    ) -> None:
        self._counts[created_at - created_at % HOUR, queue.id, country, instance, counted] += amount

    def _counters(self) -> list[tuple[object, ...]]:
        waiting = {"brand-a": self._shape.held, "brand-b": self._shape.waiting}
        return [(0, f"queued/{client}", "", value) for client, value in waiting.items()]

    def _statistics(self) -> Iterator[tuple[object, ...]]:
        """Yield the hours, the days, what lanes have counted, and for the rest of the year days like these."""
        begin = first_hour(self._now)
        days: Counter[tuple[int, int, str, str, str]] = Counter()
        for (period, *rest), value in self._counts.items():
            if period >= self._now - SETTLED:
                yield (1, period, *rest, "gone/0" if rest[-1] == STORED else "gone/1", value)
                continue
            days[period - period % DAY, *rest] += value
            if period >= begin:
                yield (1, period, *rest, "", value)
        latest = [(key, value) for key, value in days.items() if begin - _REPEATED * DAY <= key[0] < begin]
        for repeat in range(1, STATISTICS_DAYS // _REPEATED):
            for (period, *rest), value in latest:
                days[period - repeat * _REPEATED * DAY, *rest] += value
        for (period, *rest), value in days.items():
            yield (24, period, *rest, "", value)


def _id(moment: int, tail: int) -> str:
    """Return an id of a message as ``outbox.new_id`` makes it, but of this moment."""
    digits = f"{moment:012x}{0x7000 | tail >> 62:04x}{1 << 63 | tail & (1 << 62) - 1:016x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


async def fill(folder: Path, url: str, shape: Shape = MILLION) -> None:
    """Create the tables of a new store, and fill them."""
    async with open_outbox(Secret(url), folder, Policy()):
        pass
    rows = Rows(shape, int(time.time() * 1000)).parts()
    path = sqlite_path(Secret(url), folder)
    if path is None:
        await _fill_postgresql(url, rows)
    else:
        _fill_sqlite(path, rows)


def _fill_sqlite(path: Path, parts: Iterator[Mapping[str, Sequence[tuple[object, ...]]]]) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -1000000")
        for part in parts:
            for name, rows in part.items():
                columns = schema.metadata.tables[name].columns
                values = ", ".join("?" for _ in columns)
                names = ", ".join(one.name for one in columns)
                connection.executemany(f"INSERT INTO {name} ({names}) VALUES ({values})", rows)
            connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


async def _fill_postgresql(url: str, parts: Iterator[Mapping[str, Sequence[tuple[object, ...]]]]) -> None:
    connection = await asyncpg.connect(url)
    try:
        for part in parts:
            for name, rows in part.items():
                columns = [one.name for one in schema.metadata.tables[name].columns]
                await connection.copy_records_to_table(name, records=rows, columns=columns)
        for name in ("queues", "statuses"):
            key = "id" if name == "queues" else "seq"
            await connection.execute(
                f"SELECT setval(pg_get_serial_sequence('{name}', '{key}'), (SELECT max({key}) FROM {name}))"
            )
        # As autovacuum does it sooner or later.
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()


if __name__ == "__main__":
    import sys

    asyncio.run(fill(Path(sys.argv[1]), sys.argv[2]))
