"""The store's side of routes with ``next_after``: what is read to follow a message on one, and what is written."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, bindparam, func, literal, or_, select, update

from gatepost.model import Channel, Status, StatusEvent
from gatepost.outbox import counters
from gatepost.outbox.fallback import ARRIVALS, FAILED_REASON, FAILURES, Progress
from gatepost.outbox.one_of import IDS, one_of
from gatepost.outbox.records import EndedMessage, Fallback, NewStatus
from gatepost.outbox.schema import attempts, messages, queues, statuses
from gatepost.outbox.states import FINAL_STATES, State
from gatepost.outbox.transaction import Record, Transaction, dialect_pair

REPORT_POSITION = 1_000
"""The first position, after those of all tries, of what is known only from a report: the process died before the answer."""

_padded_passed = literal(" ") + messages.c.passed + literal(" ")
_padded_instance = literal(" ") + messages.c.instance + literal(" ")

is_last_wait: ColumnElement[bool] = or_(
    messages.c.instance == "", func.replace(_padded_passed, _padded_instance, "") != _padded_passed
)
"""Whether no member is left for an awaiting message: its instance has passed, or the user can't be reached any more.

LIKE would not do, because a name may have an underscore.
"""


class MatchedEvent(NamedTuple):
    """An event of a report and the message that it is about."""

    number: int
    """The number of the report among those of the transaction."""
    message_id: str
    instance: str
    event: StatusEvent


_select_queues = dialect_pair(
    lambda _: select(queues.c.id, queues.c.channel, queues.c.route).where(one_of(queues.c.id, IDS))
)


def fallbacks_by_queue(tx: Transaction, queue_ids: Iterable[int]) -> dict[int, Fallback]:
    """Return the fallbacks of those of these queues whose route has one."""
    configured = tx.policy.fallbacks
    if not configured:
        return {}
    found = tx.select_by_ids(_select_queues, sorted(set(queue_ids)))
    return {
        row.id: configured[row.channel, row.route] for row in found if (row.channel, row.route) in configured
    }


_select_failed = dialect_pair(
    lambda _: select(attempts.c.message_id, attempts.c.instance).where(
        one_of(attempts.c.message_id, IDS), one_of(attempts.c.outcome, [status.value for status in FAILURES])
    )
)


def failed_members(tx: Transaction, message_ids: Collection[str]) -> dict[str, set[str]]:
    """Return for each message the instances that refused it, or whose providers said that it failed."""
    failed: dict[str, set[str]] = {message_id: set() for message_id in message_ids}
    for message_id, instance in tx.select_by_ids(_select_failed, sorted(failed)):
        failed[message_id].add(instance)
    return failed


_select_arrived = dialect_pair(
    lambda _: select(statuses.c.message_id).where(
        one_of(statuses.c.message_id, IDS), one_of(statuses.c.status, [status.value for status in ARRIVALS])
    )
)


def arrived_messages(tx: Transaction, message_ids: Collection[str]) -> set[str]:
    """Return the messages that reached the user."""
    return {row.message_id for row in tx.select_by_ids(_select_arrived, sorted(message_ids))}


_set_outcome = (
    update(attempts)
    .where(
        attempts.c.message_id == bindparam("of_message"),
        attempts.c.instance == bindparam("of_instance"),
        one_of(attempts.c.outcome, bindparam("from_outcomes")),
    )
    .values(outcome=bindparam("outcome"), code=bindparam("code"))
)


# A try for which the instance was unavailable is not the one that failed.
_select_try = select(attempts.c.message_id).where(
    attempts.c.message_id == bindparam("of_message"),
    attempts.c.instance == bindparam("of_instance"),
    attempts.c.outcome != "unavailable",
)


def note_outcome(
    tx: Transaction, row: Record, instance: str, status: Status, code: str, passed: Sequence[str]
) -> None:
    """Write into the tries of this instance what its provider reported at the end: a delivery or a failure.

    ``passed`` are the members that have passed; after a failure this instance is one of them.
    """
    if status not in FAILURES and status is not Status.DELIVERED:
        return
    before: Sequence[str] = ["sent", "uncertain"]
    if status is Status.DELIVERED:
        before = [*before, *FAILURES]
    parameters: Mapping[str, object] = {
        "of_message": row.id,
        "of_instance": instance,
        "from_outcomes": before,
        "outcome": status.value,
        "code": code,
    }
    tx.connection.execute(_set_outcome, parameters)
    if status in FAILURES and not tx.connection.execute(_select_try, parameters).first():
        position = REPORT_POSITION + passed.index(instance)
        tx.insert_new(attempts, [reported_try(tx, row, instance, status.value, code=code, position=position)])


def reported_try(
    tx: Transaction,
    row: Record,
    instance: str,
    outcome: str,
    *,
    position: int,
    code: str = "",
    provider_id: str | None = None,
) -> dict[str, object]:
    """Return the row for a try of which only a report is known."""
    return {
        "message_id": row.id,
        "attempt": row.attempt,
        "position": position,
        "instance": instance,
        "choice": "",
        "outcome": outcome,
        "provider_id": provider_id,
        "reason": "known from a report alone",
        "code": code,
        "started_at": tx.now,
        "duration": 0,
        "parts": 0,
        "counted_parts": 0,
        "not_gsm7": "",
        "price": "",
        "currency": "",
    }


def progress_of(tx: Transaction, rows: Mapping[str, Record], failing: Collection[str]) -> dict[str, Progress]:
    """Return the progress of those of these messages that are on routes with ``next_after``.

    What failed or arrived before is read only for the messages that are ``failing`` now.
    """
    found = fallbacks_by_queue(tx, {row.queue for row in rows.values()})
    followed = {i: row for i, row in rows.items() if row.queue in found or row.passed}
    if not followed:
        return {}
    failed = failed_members(tx, {i for i, row in followed.items() if i in failing and row.passed})
    arrived = arrived_messages(
        tx, {i for i, row in followed.items() if i in failing and row.state == State.SENT}
    )
    return {
        i: Progress(
            state=State(row.state),
            instance=row.instance,
            passed=row.passed.split(),
            fallback=found.get(row.queue),
            expired=row.expires_at <= tx.now,
            failed=failed.get(i, ()),
            arrived=i in arrived,
        )
        for i, row in followed.items()
    }


def follow_reports(
    tx: Transaction, rows: Mapping[str, Record], matched: Sequence[MatchedEvent]
) -> tuple[Mapping[str, Progress], Sequence[NewStatus]]:
    """Return the new progress of messages on routes with ``next_after``, and for each event the status to add.

    An event whose own status is not told still proves that the message was accepted.
    """
    to_add = [
        NewStatus(match.message_id, match.event.status, match.event.code, match.instance) for match in matched
    ]
    failing = {match.message_id for match in matched if match.event.status in FAILURES}
    reported = {match.message_id: rows[match.message_id] for match in matched}
    progress = progress_of(tx, reported, failing)
    if progress:
        for position, (_, message_id, instance, event) in enumerate(matched):
            if one := progress.get(message_id):
                if not one.report(instance, event.status):
                    to_add[position] = NewStatus(message_id, Status.ACCEPTED, "", instance)
                # Not of an instance that can't have had the message, and not after an arrival.
                if event.status not in FAILURES or (instance in one.passed and not one.arrived):
                    note_outcome(tx, rows[message_id], instance, event.status, event.code, one.passed)
    return progress, to_add


_update_progress = (
    update(messages)
    .where(messages.c.id == bindparam("message_id"))
    .values(
        state=bindparam("state"),
        due_at=bindparam("due_at"),
        ended_at=bindparam("ended_at"),
        passed=bindparam("passed"),
        instance=bindparam("instance"),
        reason=bindparam("reason"),
        code="",
    )
)


def store_progress(
    tx: Transaction, rows: Mapping[str, Record], progress: Mapping[str, Progress]
) -> Sequence[EndedMessage]:
    """Store what reports changed; return the messages that are sent now and were not before."""
    changed = {message_id: one for message_id, one in progress.items() if one.changed}
    if not changed:
        return ()
    values = [
        {
            "message_id": message_id,
            "instance": one.instance,
            "reason": FAILED_REASON if one.state is not State.SENT and one.instance in one.passed else "",
            **one.values(tx, rows[message_id]),
        }
        for message_id, one in changed.items()
    ]
    tx.execute_many(_update_progress, values)
    for message_id, one in changed.items():
        was_final = rows[message_id].state in FINAL_STATES
        if was_final != (one.state in FINAL_STATES):
            counters.add(tx, counters.queued(rows[message_id].client), 1 if was_final else -1)
    return sorted(
        EndedMessage(message_id, row.client, Channel(row.channel), State.SENT)
        for message_id in changed
        if changed[message_id].state is State.SENT and (row := rows[message_id]).state != State.SENT
    )
