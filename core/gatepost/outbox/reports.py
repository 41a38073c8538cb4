"""Statuses becoming known: recorded once, queued for Smartico in their order."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.engine import Row

from gatepost.model import Channel, Status, StatusEvent
from gatepost.outbox.records import EndedMessage, RecordResult, ReportedEvents
from gatepost.outbox.schema import contents, messages, statuses
from gatepost.outbox.states import OPEN, CallbackState, State, to_record
from gatepost.outbox.transaction import IDS, Transaction, chunks, dialect_pair

_WANTED = (
    messages.c.id,
    messages.c.client,
    messages.c.channel,
    messages.c.instance,
    messages.c.state,
    messages.c.callback_url,
    messages.c.provider_id,
)


def record(
    tx: Transaction, reports: Sequence[ReportedEvents]
) -> list[tuple[RecordResult, Sequence[EndedMessage]]]:
    """Record what providers reported. The reports prove that they have the messages.

    With the first comes what has ended by any of them, so that each end is counted once.
    """
    found = _by_our_id(tx, {e.message_id for r in reports for e in r.events if e.message_id})
    by_provider = _by_their_id(tx, reports, found)
    told: list[tuple[int, str, StatusEvent]] = []
    unknown = [0] * len(reports)
    for number, report in enumerate(reports):
        for event in report.events:
            row = found.get(event.message_id)
            if row is not None:
                # By its id anybody could report on it: who has one may have seen it in a mail.
                identity = row.id if _can_know(report, row) else ""
            else:
                identity = by_provider.get((report.instance, event.provider_id), "")
            if identity:
                told.append((number, identity, event))
            else:
                unknown[number] += 1
    added = append(tx, found, [(identity, event.status, event.code) for _, identity, event in told])
    ended = _now_sent(tx, [found[identity] for identity in {identity for _, identity, _ in told}])
    new = [0] * len(reports)
    repeated = [0] * len(reports)
    for (number, _, _), count in zip(told, added, strict=True):
        new[number] += count
        repeated[number] += not count
    return [
        (RecordResult(new=new[n], repeated=repeated[n], unknown=unknown[n]), () if n else ended)
        for n in range(len(reports))
    ]


def _can_know(report: ReportedEvents, row: Row[Any]) -> bool:
    """Whether the instance may have the message: what it was asked last is noted only when it has answered."""
    return row.channel in report.channels or row.instance == report.instance


_ours = dialect_pair(
    lambda locking: locking(select(*_WANTED).where(messages.c.id.in_(IDS)).order_by(messages.c.id))
)
_theirs = dialect_pair(
    lambda locking: locking(
        select(*_WANTED)
        .where(messages.c.instance == bindparam("instance"), messages.c.provider_id.in_(IDS))
        .order_by(messages.c.id)
    )
)


def _by_our_id(tx: Transaction, ids: Iterable[str]) -> dict[str, Row[Any]]:
    return {row.id: row for row in tx.execute_about(_ours, sorted(ids))}


def _by_their_id(
    tx: Transaction, reports: Sequence[ReportedEvents], found: dict[str, Row[Any]]
) -> dict[tuple[str, str], str]:
    """Our ids by instance and provider's id, for events that don't bear ours; fills in ``found``."""
    ours: dict[tuple[str, str], str] = {}
    for report in reports:
        theirs = {e.provider_id for e in report.events if e.provider_id and e.message_id not in found}
        for row in tx.execute_about(_theirs, sorted(theirs), instance=report.instance):
            found[row.id] = row
            ours[report.instance, row.provider_id] = row.id
    return ours


_proven = (
    update(messages)
    .where(messages.c.id == bindparam("message_id"))
    .values(state=State.SENT.value, due_at=None, ended_at=bindparam("now"), reason="", code="")
)


def _now_sent(tx: Transaction, rows: Iterable[Row[Any]]) -> Sequence[EndedMessage]:
    """A report proves it: these messages are at a provider, whatever we thought."""
    ended = sorted(
        EndedMessage(row.id, row.client, Channel(row.channel), State.SENT)
        for row in rows
        if row.state != State.SENT
    )
    if ended:
        tx.execute_many(_proven, [{"message_id": one.id, "now": tx.now} for one in ended])
        forget_contents(tx, [one.id for one in ended])
    return ended


_forgetting = dialect_pair(lambda _: delete(contents).where(contents.c.message_id.in_(IDS)))


def forget_contents(tx: Transaction, ids: Iterable[str]) -> None:
    """Erase what nobody will send any more."""
    for some in chunks(ids):
        tx.execute(_forgetting, ids=some)


_known = dialect_pair(
    lambda _: select(statuses.c.message_id, statuses.c.status, statuses.c.callback_state).where(
        statuses.c.message_id.in_(IDS)
    )
)
_appending = statuses.insert()


def append(
    tx: Transaction,
    rows: Mapping[str, Row[Any]],
    news: Sequence[tuple[str, Status, str]],
    *,
    by_provider: bool = True,
) -> list[int]:
    """Add statuses (message, status, code) in this order; returns how many each of them added.

    ``rows`` holds each message's ``client`` and ``callback_url``, and on PostgreSQL the caller holds their locks: who
    records and who finishes a call must not pass each other.
    """
    known: dict[str, list[Status]] = {identity: [] for identity, _, _ in news}
    busy: set[str] = set()
    for identity, status, callback_state in tx.execute_about(_known, known):
        known[identity].append(Status(status))
        if callback_state in OPEN:
            busy.add(identity)
    added: list[int] = []
    new_rows: list[dict[str, object]] = []
    for identity, status, code in news:
        fresh = to_record(known[identity], [status], by_provider=by_provider)
        known[identity] += fresh
        added.append(len(fresh))
        message = rows[identity]
        for one in fresh:
            if not message.callback_url:
                callback_state = CallbackState.NONE
            elif identity in busy:
                callback_state = CallbackState.WAITING
            else:
                callback_state = CallbackState.QUEUED
                busy.add(identity)
            new_rows.append(
                _status_row(tx, identity, one, code if one is status else "", callback_state, message)
            )
    if new_rows:
        tx.execute_many(_appending, new_rows)
    return added


def _status_row(
    tx: Transaction,
    identity: str,
    status: Status,
    code: str,
    callback_state: CallbackState,
    message: Row[Any],
) -> dict[str, object]:
    return {
        "message_id": identity,
        "status": status.value,
        "code": code,
        "recorded_at": tx.now,
        "callback_state": callback_state.value,
        "due_at": tx.now if callback_state is CallbackState.QUEUED else None,
        "attempt": 0,
        "holder": "",
        "client": message.client,
        "target": _target(message.callback_url),
        "problem": "",
    }


def _target(url: str) -> str:
    """``host:port`` of a callback URL, which was checked when its message was accepted; empty for none."""
    if not url:
        return ""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (80 if parts.scheme == "http" else 443)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
