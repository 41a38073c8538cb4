"""Refused requests of Smartico, kept for a day, so that an operator finds them by uid and by user.

They are written a moment later and together, because a refusal needs no promise: the answer tells Smartico everything. Ids
that look like an address or a phone number are not kept.
"""

import asyncio
import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, delete, func, insert, select

from gatepost.errors import StoreError
from gatepost.observe import logs
from gatepost.observe.log_throttle import LogThrottle
from gatepost.observe.redaction import redact_patterns
from gatepost.outbox import forgotten_users
from gatepost.outbox.counters import DAY
from gatepost.outbox.forgotten_users import User
from gatepost.outbox.message_filter import MessageFilter
from gatepost.outbox.one_of import one_of
from gatepost.outbox.schema import refusals
from gatepost.outbox.store import Outbox
from gatepost.outbox.transaction import Transaction, id_chunks

KEPT = DAY
"""Milliseconds for which a refusal is kept."""

MAX_KEPT = 100_000
"""Refusals that are kept at most; the oldest go first."""

WRITE_INTERVAL = 0.2
"""Seconds between two writes."""

MAX_WAITING = 1_000
"""Refusals that may wait for the next write. A client that sends more in that time finds all of them refused for the same
reasons, so further ones are dropped."""

HIDDEN = "[address]"
"""Is kept in place of an id that looks like an address or a phone number."""

FORGOTTEN = "[forgotten]"
"""Is kept in place of the id of a user who was forgotten."""

_PRUNE_BATCH = 1_000

# Built once: each statement stays in the cache of ``driver_statement``.
_insert = insert(refusals)

_log = logs.get(__name__)


class Refusal(NamedTuple):
    """A refused request; ids are empty where the request did not say them."""

    client: str
    channel: str
    uid: str
    ext_user_id: str
    code: int
    reason: str


class RefusalView(msgspec.Struct, frozen=True, kw_only=True):
    """A refused request, for an operator."""

    refused_at: float
    """Seconds since the epoch."""
    client: str
    channel: str
    uid: str
    ext_user_id: str
    code: int
    reason: str


class RefusalPage(NamedTuple):
    """A page of refusals."""

    refusals: list[RefusalView]
    matching: int
    """How many there are on all pages."""
    next: int | None
    """What ``find_page`` takes as ``before`` for the next page; None: there is none."""


class RefusalLog:
    """Takes refusals at any time, and writes them to the store."""

    def __init__(self, outbox: Outbox, log_throttle: LogThrottle) -> None:
        self._outbox = outbox
        self._log_throttle = log_throttle
        self._waiting: list[Refusal] = []
        self._arrived = asyncio.Event()

    def add(self, refusal: Refusal) -> None:
        """Write this refusal with the next ones, unless MAX_WAITING wait already."""
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(refusal)
            self._arrived.set()
        elif self._log_throttle.due("refusals_dropped"):
            _log.warning("refusals_dropped", problem="too many requests are refused at once to keep them all")

    async def run(self) -> None:
        """Write refusals until cancelled, and then those that wait."""
        try:
            while True:
                await self._arrived.wait()
                await asyncio.sleep(WRITE_INTERVAL)
                await self._write()
        finally:
            await self._write()

    async def _write(self) -> None:
        batch, self._waiting = self._waiting, []
        self._arrived.clear()
        if not batch:
            return
        try:
            await self._outbox.change(add, batch)
        except StoreError as error:
            _log.warning("refusals_dropped", problem=str(error))


def add(tx: Transaction, batches: Sequence[Sequence[Refusal]]) -> list[None]:
    """Store refusals. Those of forgotten users, whose messages are refused from now on, don't name them."""
    new = [one for batch in batches for one in batch]
    forgotten = forgotten_users.find(tx, {(one.client, one.ext_user_id) for one in new})
    rows = [
        {
            "refused_at": tx.now,
            **one._asdict(),
            "uid": _plain_id(one.uid),
            "ext_user_id": FORGOTTEN
            if (one.client, one.ext_user_id) in forgotten
            else _plain_id(one.ext_user_id),
        }
        for one in new
    ]
    if rows:
        tx.execute_many(_insert, rows)
    return [None] * len(batches)


def erase(tx: Transaction, users: Collection[User]) -> None:
    """Delete the refusals of these users, who are forgotten."""
    for client, ext_user_id in users:
        of_user = refusals.c.client == client, refusals.c.ext_user_id == ext_user_id
        # Another replica deletes those that it has locked. It may wait for a message that is locked here.
        found = tx.with_lock(select(refusals.c.seq).where(*of_user), skip_locked=True)
        for chunk in id_chunks(tx.connection.execute(found).scalars()):
            tx.connection.execute(delete(refusals).where(one_of(refusals.c.seq, chunk)))


def _plain_id(identity: str) -> str:
    return HIDDEN if is_hidden(identity) else identity


def is_hidden(identity: str) -> bool:
    """Return whether an id looks like an address or a phone number, so that no refusal is kept with it."""
    return redact_patterns(identity) != identity


def prune(tx: Transaction, items: Sequence[None]) -> list[int]:
    """Delete refusals that are too old or too many, some at a time; each result says how many."""
    newest = tx.connection.execute(select(func.max(refusals.c.seq))).scalar() or 0
    # No more are read than are deleted at most: to look for old ones among all of them would take as long as a hundred
    # commits. One of the future was written before the clock went back.
    oldest = select(refusals.c.seq, refusals.c.refused_at).order_by(refusals.c.seq).limit(_PRUNE_BATCH)
    old = [
        row.seq
        for row in tx.connection.execute(tx.with_lock(oldest, skip_locked=True))
        if row.seq <= newest - MAX_KEPT or not -KEPT <= row.refused_at - tx.now <= KEPT
    ]
    for chunk in id_chunks(old):
        tx.connection.execute(delete(refusals).where(one_of(refusals.c.seq, chunk)))
    return [len(old)] * len(items)


def find(
    connection: Connection, *, client: str = "", uid: str = "", user: str = "", limit: int = 100
) -> list[RefusalView]:
    """Return refusals, the newest first: of this client, uid and user, where they are given."""
    return find_page(connection, MessageFilter(client=client, user=user), uid=uid, limit=limit).refusals


def find_page(
    connection: Connection,
    wanted: MessageFilter,
    *,
    uid: str = "",
    before: int | None = None,
    limit: int = 100,
) -> RefusalPage:
    """Return a page of refusals, the newest first; ``before`` is where the page before ended.

    Of the filter its clients, channel, user and times count: nothing else is known of a refused request.
    """
    equal = {"client": wanted.client, "channel": wanted.channel, "uid": uid, "ext_user_id": wanted.user}
    conditions = [refusals.c[name] == value for name, value in equal.items() if value]
    if wanted.clients:
        conditions.append(one_of(refusals.c.client, wanted.clients))
    if wanted.since is not None:
        conditions.append(refusals.c.refused_at >= math.ceil(wanted.since * 1000))
    if wanted.until is not None:
        conditions.append(refusals.c.refused_at < math.ceil(wanted.until * 1000))
    on_page = [refusals.c.seq < before] if before is not None else []
    query = select(refusals).where(*conditions, *on_page).order_by(refusals.c.seq.desc()).limit(limit + 1)
    rows = connection.execute(query).all()
    views = [
        RefusalView(
            refused_at=row.refused_at / 1000,
            client=row.client,
            channel=row.channel,
            uid=row.uid,
            ext_user_id=row.ext_user_id,
            code=row.code,
            reason=row.reason,
        )
        for row in rows[:limit]
    ]
    matching = connection.execute(select(func.count()).select_from(refusals).where(*conditions)).scalar_one()
    return RefusalPage(views, matching, rows[limit - 1].seq if len(rows) > limit else None)
