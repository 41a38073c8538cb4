"""Recording the results of claims: state, statuses and content of each message."""

from collections.abc import Collection, Mapping, Sequence
from itertools import compress
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select, update

from gatepost.model import Channel, Status
from gatepost.outbox import cost_counts, counters, deaths, receipt_counts, statistics, tries, warmup_counts
from gatepost.outbox.fallback import Progress
from gatepost.outbox.fallback_store import progress_of
from gatepost.outbox.fence import check_fence
from gatepost.outbox.one_of import IDS, one_of
from gatepost.outbox.records import EndedMessage, NewStatus, SendResult
from gatepost.outbox.reports import STATUS_COLUMNS, append_statuses, delete_contents, suppress_users
from gatepost.outbox.schema import contents, messages
from gatepost.outbox.states import FINAL_STATES, GIVEN_UP_STATES, State
from gatepost.outbox.transaction import Record, Transaction, dialect_pair

_FINAL_STATUSES = {
    State.SENT: Status.ACCEPTED,
    State.REJECTED: Status.REJECTED,
    State.FAILED: Status.FAILED,
}
"""The status that each final state reports to Smartico."""

_TAKEN_NOW = {State.SENDING, *GIVEN_UP_STATES}
"""States in which a receipt is news; in the others a report, or the same receipt, was there before."""

_claimed_rows = dialect_pair(
    lambda add_lock: add_lock(
        select(
            *STATUS_COLUMNS,
            messages.c.ext_user_id,
            messages.c.preview,
            messages.c.attempt,
            messages.c.holder,
            messages.c.state,
            messages.c.deaths,
            messages.c.expires_at,
            messages.c.ended_at,
            messages.c.instance,
            messages.c.reason,
            messages.c.code,
            messages.c.passed,
            messages.c.due_at,
        )
        .where(one_of(messages.c.id, IDS))
        .order_by(messages.c.id)
    )
)
_update_message = (
    update(messages)
    .where(messages.c.id == bindparam("message_id"))
    .values(
        state=bindparam("state"),
        due_at=bindparam("due_at"),
        ended_at=bindparam("ended_at"),
        lost_answers=messages.c.lost_answers + bindparam("new_lost_answers"),
        instance=bindparam("instance"),
        reason=bindparam("reason"),
        code=bindparam("code"),
        passed=bindparam("passed"),
    )
)
_update_sent = dialect_pair(
    lambda _: (
        update(messages)
        .where(one_of(messages.c.id, IDS))
        .values(
            state=State.SENT.value,
            due_at=None,
            ended_at=bindparam("of_end"),
            instance=bindparam("of_instance"),
            reason="",
            code="",
            passed=bindparam("of_passed"),
        )
    )
)
_update_content = (
    update(contents)
    .where(contents.c.message_id == bindparam("of_message"))
    .values(content=bindparam("content"))
)


class FinishResult(NamedTuple):
    """What recording a SendResult changed."""

    recorded: bool
    """False: the claim was lost, and nothing was changed."""
    callback_due: bool
    """Whether a new status may have to be called back now."""
    due_now: bool = False
    """Whether it is due now for the next instance of its route."""
    end: EndedMessage | None = None
    """Set when the message reached a final state now; None when it goes on, or was in that state before."""


def finish(tx: Transaction, results: Sequence[SendResult]) -> list[FinishResult]:
    """Record the results of claims, as far as the fence allows.

    A receipt (SENT) counts until the message is claimed again: even when the lease had ended and the message was
    queued again, held or failed meanwhile, and when a report came first, which leaves only the provider's id to be
    noted.
    """
    ids = [result.id for result in results]
    rows: dict[str, Record] = {row.id: row for row in tx.select_by_ids(_claimed_rows, sorted(set(ids)))}
    receipts = [result.state is State.SENT for result in results]
    valid = check_fence(tx, ids, results, rows, allow_late=receipts)
    valid_results = list(compress(results, valid))
    if not valid_results:
        return [FinishResult(recorded=False, callback_due=False)] * len(results)
    progress = _follow_fallbacks(tx, valid_results, rows)
    values = [
        _message_values(tx, result, rows[result.id], progress.get(result.id)) for result in valid_results
    ]
    _update_messages(tx, values)
    cost_counts.count_costs(tx, valid_results, rows)
    tries.store(tx, valid_results, rows)
    _update_contents(tx, valid_results, values)
    callback_due = _add_statuses(tx, valid_results, rows, values)
    receipt_counts.count_sends(tx, valid_results, rows)
    warmup_counts.count_results(tx, valid_results, rows)
    due_now = {message_id for message_id, one in progress.items() if one.is_due_now}
    ends = _ends(rows, values)
    for end in ends.values():
        if rows[end.id].state not in FINAL_STATES:
            counters.add(tx, counters.queued(end.client), -1)
    return [
        FinishResult(
            is_valid,
            is_valid and result.id in callback_due,
            is_valid and result.id in due_now,
            ends.pop(result.id, None) if is_valid else None,
        )
        for result, is_valid in zip(results, valid, strict=True)
    ]


def _update_messages(tx: Transaction, values: Sequence[Mapping[str, Any]]) -> None:
    """Write the new values of messages; the sent ones that have the same values with one statement.

    These come last, because only a receipt may follow another result of the same claim. With one statement per message,
    SQLite's thread would release and reacquire the interpreter for each.
    """
    sent: dict[tuple[int, str, str], list[str]] = {}
    others = []
    for value in values:
        if value["state"] == State.SENT and not (value["reason"] or value["code"]):
            alike = value["ended_at"], value["instance"], value["passed"]
            sent.setdefault(alike, []).append(value["message_id"])
        else:
            others.append(value)
    if others:
        tx.execute_many(_update_message, others)
    for (ended_at, instance, passed), ids in sent.items():
        tx.execute(_update_sent, ids=ids, of_end=ended_at, of_instance=instance, of_passed=passed)


def _follow_fallbacks(
    tx: Transaction, results: Sequence[SendResult], rows: Mapping[str, Record]
) -> dict[str, Progress]:
    """Return the new progress of messages on routes with ``next_after`` that are not just tried again."""
    failing = {result.id for result in results if result.state in {State.REJECTED, State.FAILED}}
    progress = progress_of(tx, {result.id: rows[result.id] for result in results}, failing)
    for result in results if progress else ():
        one = progress.get(result.id)
        if one is None:
            continue
        if result.state is State.SENT or (result.state is State.UNCERTAIN and one.has_next(result.instance)):
            one.answer(result.instance)
        elif result.state is State.REJECTED:
            one.refuse(result.instance, for_all=result.status is not None)
        elif result.state is State.FAILED:
            one.end(State.FAILED)
        else:
            del progress[result.id]
    return progress


def _add_statuses(
    tx: Transaction,
    results: Sequence[SendResult],
    rows: Mapping[str, Record],
    values: Sequence[Mapping[str, object]],
) -> Collection[str]:
    """Add the statuses that follow from these results; return the messages of which one may be called back now."""
    statuses = _new_statuses(results, values)
    if not statuses:
        return ()
    added = append_statuses(tx, rows, statuses, by_provider=False)
    for one, count in zip(statuses, added, strict=True):
        if not count and one.status is Status.ACCEPTED and (row := rows[one.message_id]).state in _TAKEN_NOW:
            # Smartico hears `accepted` once, and not after `failed`: where an operator has sent the message again, or the
            # answer came after the message was given up.
            what = statistics.ACCEPTED_AGAIN if row.passed else Status.ACCEPTED.value
            statistics.add_of(tx, row, one.instance, what)
    suppress_users(tx, rows, [NewStatus(one.id, one.status, one.code) for one in results if one.status])
    return {one.message_id for one in statuses if rows[one.message_id].callback_url}


def _new_statuses(results: Sequence[SendResult], values: Sequence[Mapping[str, object]]) -> list[NewStatus]:
    """Return the statuses to add after these results."""
    new = []
    for result, value in zip(results, values, strict=True):
        # A receipt is accepted also where the delivery is still waited for.
        state = State.SENT if result.state is State.SENT else State(str(value["state"]))
        if state in _FINAL_STATUSES:
            new.append(NewStatus(result.id, _FINAL_STATUSES[state], result.code, result.instance))
        if result.status is not None:
            new.append(NewStatus(result.id, result.status, result.code, result.instance))
    return new


def _ends(rows: Mapping[str, Record], values: Sequence[Mapping[str, Any]]) -> dict[str, EndedMessage]:
    """Return by id the messages that reached a final state now, without those that were in that state before."""
    return {
        row.id: EndedMessage(row.id, row.client, Channel(row.channel), State(value["state"]))
        for value in values
        if value["state"] in FINAL_STATES and value["state"] != (row := rows[value["message_id"]]).state
    }


def _update_contents(
    tx: Transaction, results: Sequence[SendResult], values: Sequence[Mapping[str, object]]
) -> None:
    """Erase the contents of sent and rejected messages; store a derived text for the next attempt of others."""
    done = {str(value["message_id"]) for value in values if value["state"] in {State.SENT, State.REJECTED}}
    delete_contents(tx, done)
    encrypt = tx.policy.content_keys.encrypt
    derived = [
        {"of_message": result.id, "content": encrypt(result.id, result.content)}
        for result in results
        if result.content and result.id not in done
    ]
    if derived:
        tx.execute_many(_update_content, derived)


def _message_values(
    tx: Transaction, result: SendResult, row: Record, progress: Progress | None
) -> dict[str, object]:
    """Return the new values of a message's columns after this result."""
    state = result.state
    due_at = None
    expires_at, ended_at = row.expires_at, row.ended_at
    # When a lifetime ends, the reason of the last try is more useful to an operator than "its lifetime ended".
    explained = row if state is State.FAILED and row.reason else result
    if state in {State.QUEUED, State.UNCERTAIN}:
        due_at = min(tx.after(result.delay), expires_at)
        if state is State.QUEUED and expires_at <= tx.now:
            state, due_at = State.FAILED, None
        elif state is State.QUEUED and row.deaths >= deaths.SUSPECT_DEATHS:
            state = State.SUSPECT
    values = {
        "message_id": result.id,
        "state": state.value,
        "due_at": due_at,
        "new_lost_answers": int(state is State.UNCERTAIN),
        "ended_at": None if due_at is not None else (ended_at or tx.now),
        "instance": explained.instance,
        "reason": explained.reason,
        "code": explained.code,
        "passed": row.passed,
    }
    if progress is not None:
        values |= {"new_lost_answers": 0, "instance": progress.instance, **progress.values(tx, row)}
    return values
