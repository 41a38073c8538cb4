"""The chain of the audit log: each entry has a hash over its own fields and over the hash of the entry before it.

So no entry can be changed, removed, inserted or moved without a trace, unless all hashes after it are made anew. Who
can write to the store can do that, but not change what the gateway has logged: each new head goes to the log too.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, insert, select, update

from gatepost.observe import logs
from gatepost.outbox.audit_schema import audit_head
from gatepost.outbox.schema import audit
from gatepost.outbox.transaction import Transaction, id_chunks

GENESIS = "0" * 64
"""What stands for the hash of the entry before the first one."""

PAGE = 1000
"""Entries that are read at once."""

_FIELDS = ("recorded_at", "actor", "operation", "target", "reason")

_log = logs.get(__name__)


class Head(NamedTuple):
    """The newest entry: its number and its hash."""

    seq: int
    hash: str


class ChainFault(NamedTuple):
    """The first entry that is not as it was written."""

    seq: int
    problem: str


class Verified(NamedTuple):
    """What was found out about the chain."""

    head: Head
    """The last entry of which everything up to it is as it was written."""
    fault: ChainFault | None


def entry_hash(previous: str, seq: int, fields: Mapping[str, Any]) -> str:
    """Return the hash of an entry: SHA-256 over the hash before it, its number and its fields.

    Each of them is written as its number of bytes, a colon and its bytes in UTF-8, so that none can be taken for
    another.
    """
    result = hashlib.sha256()
    for value in (previous, seq, *(fields[name] for name in _FIELDS)):
        data = str(value).encode()
        result.update(b"%d:" % len(data))
        result.update(data)
    return result.hexdigest()


def write_entries(tx: Transaction) -> None:
    """Write the entries that a transaction has gathered.

    This must be the last work of a transaction. On PostgreSQL it waits here for the other replicas that append, each of
    which has all its other locks by then and only has to commit: so no two of them wait for each other.
    """
    if not tx.audit_rows:
        return
    head = tx.connection.execute(tx.with_lock(_select_head)).one()
    last = Head(head.seq, head.hash)
    for row in tx.audit_rows:
        last = Head(last.seq + 1, entry_hash(last.hash, last.seq + 1, row))
        row.update(last._asdict())
    tx.connection.execute(insert(audit), tx.audit_rows)
    tx.connection.execute(update(audit_head).values(**last._asdict()))


def log_appended(tx: Transaction) -> None:
    """Log each entry that a transaction has appended; after its commit."""
    for row in tx.audit_rows:
        _log.info(
            "audit_appended",
            seq=row["seq"],
            hash=row["hash"],
            operation=row["operation"],
            actor=row["actor"],
        )


def log_head(tx: Transaction, items: Sequence[None]) -> list[None]:
    """Log the head, at the start of a gateway: what was appended without one is in no log."""
    head = tx.connection.execute(_select_head).one()
    _log.info("audit_head", seq=head.seq, hash=head.hash)
    return [None] * len(items)


def verify(connection: Connection, known: Iterable[Head] = ()) -> Verified:
    """Verify every entry; ``known`` are heads from the log, which find what was replaced as a whole, or cut off."""
    found = connection.execute(_select_head).one_or_none()
    head = Head(found.seq, found.hash) if found else None
    noted: dict[int, set[str]] = {}
    for one in known:
        # A log may have two of one number: then the store was set back, and something else written.
        noted.setdefault(one.seq, set()).add(one.hash)
    last = Head(0, GENESIS)
    for row in _rows(connection):
        fault = _fault_of(connection, last, row, head)
        if fault is None and noted.get(row.seq, {row.hash}) != {row.hash}:
            problem = f"entry {row.seq} has another hash than in the log: it, or one before it, was replaced"
            fault = ChainFault(row.seq, f"{problem}, with all hashes after it")
        if fault:
            return Verified(last, fault)
        last = Head(row.seq, row.hash)
    return Verified(last, _fault_of_end(last, head, max(noted, default=0)))


def faults_among(connection: Connection, rows: Sequence[Row[Any]]) -> list[int]:
    """Return which of these entries don't have the hash of their fields and of the entry before them."""
    before = [row.seq - 1 for row in rows]
    hashes = {0: GENESIS}
    for chunk in id_chunks(before):
        query = select(audit.c.seq, audit.c.hash).where(audit.c.seq.in_(chunk))
        hashes |= {row.seq: row.hash for row in connection.execute(query)}
    return [row.seq for row in rows if not _is_whole(hashes.get(row.seq - 1, ""), row.seq, row)]


_select_head = select(audit_head.c.seq, audit_head.c.hash)


def _is_whole(previous: str, seq: int, row: Row[Any]) -> bool:
    return bool(entry_hash(previous, seq, row._asdict()) == row.hash)


def _rows(connection: Connection) -> Iterator[Row[Any]]:
    """Yield all entries in the order of their numbers, and read them page by page."""
    query = select(audit).order_by(audit.c.seq).limit(PAGE)
    page = connection.execute(query).all()
    while page:
        yield from page
        page = connection.execute(query.where(audit.c.seq > page[-1].seq)).all()


def _fault_of(connection: Connection, last: Head, row: Row[Any], head: Head | None) -> ChainFault | None:
    """Return what is wrong with the entry that comes after ``last``."""
    seq = last.seq + 1
    if head and row.seq > head.seq >= last.seq and seq > head.seq:
        return ChainFault(row.seq, f"entry {row.seq} was inserted: the newest one is entry {head.seq}")
    if row.seq < seq:
        return ChainFault(row.seq, f"entry {row.seq} was inserted: the first one is entry 1")
    if row.seq > seq:
        return ChainFault(seq, f"entry {seq} is missing: the next one that is there is entry {row.seq}")
    if _is_whole(last.hash, seq, row):
        return None
    return ChainFault(seq, f"entry {seq} {_what_happened(connection, last, row)}")


def _what_happened(connection: Connection, last: Head, row: Row[Any]) -> str:
    """Return what happened to an entry whose hash is not that of its fields and of the entry before it."""
    if origin := _origin(connection, row):
        return f"is out of order: it was written as entry {origin}"
    following = connection.execute(select(audit).where(audit.c.seq == row.seq + 1)).one_or_none()
    if following and _is_whole(last.hash, row.seq, following):
        return f"was inserted: entry {row.seq + 1} was written in its place"
    problem = "its hash is not that of its fields and of the entry before it"
    return f"was changed, or one before it removed: {problem}"


def _origin(connection: Connection, row: Row[Any]) -> int:
    """Return as what number an entry was written; 0 where it can't be found out."""
    previous = GENESIS
    for seq, own in connection.execute(select(audit.c.seq, audit.c.hash).order_by(audit.c.seq)):
        # The entry that was before it may have changed places with it.
        if any(_is_whole(one, seq, row) for one in (previous, own)):
            return int(seq)
        previous = own
    return 0


def _fault_of_end(last: Head, head: Head | None, noted: int) -> ChainFault | None:
    """Return what is wrong with the end of the chain, whose entries are whole."""
    newest = max(head.seq if head else 0, noted)
    if newest > last.seq:
        return ChainFault(last.seq + 1, f"entry {last.seq + 1} is missing: the newest one is entry {newest}")
    if head != last:
        return ChainFault(last.seq, f"entry {last.seq} is not the head that the store has noted")
    return None
