"""Recording statuses: each of a message's statuses once, queued for Smartico in their order."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from sqlalchemy import bindparam, delete, select, update

from gatepost.model import Channel, Status, StatusEvent
from gatepost.observe.trail import Trail
from gatepost.outbox import (
    counters,
    late_acceptances,
    provider_ids,
    receipt_counts,
    statistics,
    suppressions,
    warmup_counts,
)
from gatepost.outbox.fallback_store import MatchedEvent, follow_reports, store_progress
from gatepost.outbox.new_rows import NewRows
from gatepost.outbox.one_of import IDS, one_of
from gatepost.outbox.records import EndedMessage, NewStatus, RecordResult, ReportedEvents
from gatepost.outbox.schema import contents, messages, statuses
from gatepost.outbox.states import FINAL_STATES, OPEN_CALLBACK_STATES, CallbackState, State, new_statuses
from gatepost.outbox.transaction import Record, Transaction, dialect_pair, id_chunks

STATUS_COLUMNS = (
    messages.c.id,
    messages.c.client,
    messages.c.channel,
    messages.c.callback_url,
    messages.c.queue,
    messages.c.country,
    messages.c.created_at,
)
"""What ``append_statuses`` needs of each message."""

_COLUMNS = (
    *STATUS_COLUMNS,
    messages.c.instance,
    messages.c.state,
    messages.c.ext_user_id,
    messages.c.preview,
    messages.c.passed,
    messages.c.attempt,
    messages.c.deaths,
    messages.c.due_at,
    messages.c.ended_at,
    messages.c.expires_at,
)


class Recording(NamedTuple):
    """What recording one report changed."""

    result: RecordResult
    ended: Sequence[EndedMessage]
    """Messages that reached a final state now."""
    queued: bool
    """Whether a message is due now for the next instance of its route."""


def record(tx: Transaction, reports: Sequence[ReportedEvents]) -> list[Recording]:
    """Record the events of each report, which prove that the provider has these messages.

    The first result carries the changes of all reports, so that each end is counted once.
    """
    rows = _by_message_id(tx, {e.message_id for r in reports for e in r.events if e.message_id})
    by_provider_id = provider_ids.find_messages(tx, reports, rows.keys())
    rows |= _by_message_id(tx, set(by_provider_id.values()) - rows.keys())
    matched, unknown = _match(reports, rows, by_provider_id)
    progress, to_add = follow_reports(tx, rows, matched)
    provider_ids.record_reported_ids(tx, rows, matched)
    added = append_statuses(tx, rows, to_add)
    recorded = [one for one, count in zip(to_add, added, strict=True) if count]
    warmup_counts.count_reports(tx, rows, matched, recorded, progress)
    receipt_counts.count_deliveries(tx, to_add, added)
    suppress_users(tx, rows, recorded)
    ended = _mark_sent(tx, [rows[i] for i in {match.message_id for match in matched} - progress.keys()])
    if progress:
        arrived = store_progress(tx, rows, progress)
        delete_contents(tx, [message.id for message in arrived])
        ended = [*ended, *arrived]
    late_acceptances.count(tx, rows, matched, ended)
    new, repeated = [0] * len(reports), [0] * len(reports)
    for match, count in zip(matched, added, strict=True):
        new[match.number] += count
        repeated[match.number] += not count
    queued = any(one.is_due_now for one in progress.values())
    return [
        Recording(
            RecordResult(
                new=new[n],
                repeated=repeated[n],
                unknown=len(unknown[n]),
                with_recipient=[event for event in unknown[n] if event.recipient is not None],
            ),
            () if n else ended,
            queued and not n,
        )
        for n in range(len(reports))
    ]


def _match(
    reports: Sequence[ReportedEvents],
    rows: Mapping[str, Record],
    by_provider_id: Mapping[tuple[str, str], str],
) -> tuple[list[MatchedEvent], list[list[StatusEvent]]]:
    """Return the events of known messages, and the others of each report."""
    matched: list[MatchedEvent] = []
    unknown: list[list[StatusEvent]] = [[] for _ in reports]
    for number, report in enumerate(reports):
        for event in report.events:
            row = rows.get(event.message_id)
            if row is not None:
                # Our id alone proves nothing: a recipient may have read it in a mail and report on it.
                message_id = row.id if _may_have_sent(report, row) else ""
            else:
                message_id = by_provider_id.get((report.instance, event.provider_id), "")
            if message_id:
                instance = report.instance or rows[message_id].instance
                matched.append(MatchedEvent(number, message_id, instance, event))
            else:
                unknown[number].append(event)
    return matched, unknown


def suppress_users(tx: Transaction, rows: Mapping[str, Record], recorded: Sequence[NewStatus]) -> None:
    """Suppress the users to whom the policy no longer sends after these statuses, which have codes."""
    if not (recorded and tx.policy.suppress):
        return
    users = [
        ((row.client, row.ext_user_id), one.status, one.code)
        for one in recorded
        # The message of a forgotten user names none any more.
        if (row := rows[one.message_id]).ext_user_id and not row.preview
    ]
    suppressions.add_for_statuses(tx, users)


def _may_have_sent(report: ReportedEvents, row: Record) -> bool:
    """Return whether the instance may have sent the message.

    The row's instance is known only after that instance has answered; until then the channel has to do.
    """
    return row.channel in report.channels or row.instance == report.instance


_select_by_id = dialect_pair(
    lambda add_lock: add_lock(select(*_COLUMNS).where(one_of(messages.c.id, IDS)).order_by(messages.c.id))
)


def _by_message_id(tx: Transaction, ids: Iterable[str]) -> dict[str, Record]:
    return {row.id: row for row in tx.select_by_ids(_select_by_id, sorted(ids))}


_update_to_sent = (
    update(messages)
    .where(messages.c.id == bindparam("message_id"))
    .values(state=State.SENT.value, due_at=None, ended_at=bindparam("now"), reason="", code="")
)


def _mark_sent(tx: Transaction, rows: Collection[Record]) -> Sequence[EndedMessage]:
    """Mark these messages as sent, whatever their state was; return those that were not sent before."""
    ended = sorted(
        EndedMessage(row.id, row.client, Channel(row.channel), State.SENT)
        for row in rows
        if row.state != State.SENT
    )
    if ended:
        tx.execute_many(_update_to_sent, [{"message_id": message.id, "now": tx.now} for message in ended])
        delete_contents(tx, [message.id for message in ended])
    for row in rows:
        if row.state not in FINAL_STATES:
            counters.add(tx, counters.queued(row.client), -1)
    return ended


_delete_contents = dialect_pair(lambda _: delete(contents).where(one_of(contents.c.message_id, IDS)))


def delete_contents(tx: Transaction, message_ids: Iterable[str]) -> None:
    """Delete the contents of messages that will not be sent again."""
    for chunk in id_chunks(message_ids):
        tx.execute(_delete_contents, ids=chunk)


_select_statuses = dialect_pair(
    lambda _: select(statuses.c.message_id, statuses.c.status, statuses.c.callback_state).where(
        one_of(statuses.c.message_id, IDS)
    )
)
_STATUSES = NewRows(
    statuses,
    (
        *("message_id", "status", "code", "recorded_at", "reporter", "callback_state", "due_at", "client"),
        "target",
    ),
    {"attempt": 0, "holder": "", "http_status": 0, "problem": ""},
    may_collide=False,  # One that was left out would be counted all the same.
)


def append_statuses(
    tx: Transaction,
    rows: Mapping[str, Record],
    reported: Sequence[NewStatus],
    *,
    by_provider: bool = True,
) -> list[int]:
    """Add statuses in this order; return how many rows each of them added.

    ``rows`` holds each message's ``client``, ``channel``, ``callback_url``, ``queue``, ``country`` and ``created_at``. On PostgreSQL the rows must be locked: otherwise
    another replica could finish a callback of the message at the same moment, and no status would be queued next.
    """
    known: dict[str, list[Status]] = {one.message_id: [] for one in reported}
    with_open_callback: set[str] = set()
    for message_id, status, callback_state in tx.select_by_ids(_select_statuses, known):
        known[message_id].append(Status(status))
        if callback_state in OPEN_CALLBACK_STATES:
            with_open_callback.add(message_id)
    counts: list[int] = []
    new_rows: list[Sequence[object]] = []
    for message_id, status, code, instance in reported:
        added = new_statuses(known[message_id], [status], by_provider=by_provider)
        known[message_id] += added
        counts.append(len(added))
        message = rows[message_id]
        for one in added:
            if not message.callback_url:
                callback_state = CallbackState.NONE
            elif message_id in with_open_callback:
                callback_state = CallbackState.WAITING
            else:
                callback_state = CallbackState.QUEUED
                with_open_callback.add(message_id)
            new = NewStatus(message_id, one, code if one is status else "", instance)
            _count(tx, message, new)
            reporter = instance if by_provider else ""
            new_rows.append(_status_row(tx, new, reporter, callback_state, message))
    if new_rows:
        tx.insert_new_ids(_STATUSES, new_rows)
    return counts


def log_statuses(trail: Trail, tx: Transaction) -> None:
    """Write the statuses that a transaction has added to the trail."""
    for message, one in tx.new_statuses:
        trail.tracing.reported(
            one.message_id,
            client=message.client,
            channel=message.channel,
            instance=one.instance,
            status=one.status.value,
            code=one.code,
        )
        trail.recorded(
            one.message_id,
            client=message.client,
            status=one.status.value,
            code=one.code,
            instance=one.instance,
        )


def _count(tx: Transaction, message: Record, new: NewStatus) -> None:
    tx.new_statuses.append((message, new))
    statistics.add_of(tx, message, new.instance, new.status.value)


def _status_row(
    tx: Transaction, new: NewStatus, reporter: str, callback_state: CallbackState, message: Record
) -> Sequence[object]:
    return (
        new.message_id,
        new.status.value,
        new.code,
        tx.now,
        reporter,
        callback_state.value,
        tx.now if callback_state is CallbackState.QUEUED else None,
        message.client,
        _target(message.callback_url),
    )


@lru_cache(1_000)
def _target(url: str) -> str:
    """Return ``host:port`` of a callback URL, which was checked at acceptance; empty for an empty URL."""
    if not url:
        return ""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (80 if parts.scheme == "http" else 443)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
