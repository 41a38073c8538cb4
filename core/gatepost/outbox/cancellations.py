"""Cancelling messages that wait, for an operator: by their ids, or all that a filter means.

A filter may mean millions of messages, so they are cancelled in steps. Each step is a short transaction, and between
two steps other work is done. The command asks for each step; when the command ends, no further step is taken.
"""

import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, bindparam, select, update

from gatepost.content_keys import ContentKeys
from gatepost.model import Channel, Status
from gatepost.observe.redaction import redact_patterns
from gatepost.outbox import audit, counters
from gatepost.outbox.audit import AuditEntry, MessageChange
from gatepost.outbox.message_filter import Cursor, MessageFilter, pages
from gatepost.outbox.one_of import IDS, one_of
from gatepost.outbox.records import OUR_ID, EndedMessage, NewStatus
from gatepost.outbox.reports import STATUS_COLUMNS, append_statuses, delete_contents
from gatepost.outbox.schema import messages
from gatepost.outbox.states import State
from gatepost.outbox.transaction import Record, Transaction, dialect_pair, id_chunks

CANCELLABLE = (State.QUEUED, State.SUSPECT, State.HELD, State.AWAITING)
"""States of a message that waits, and that no provider is sending. An instance that has an awaiting one keeps it."""

MAYBE_SENT = (State.SENDING, State.UNCERTAIN)
"""States of a message that a provider may be sending or may have sent: it is never cancelled, only counted."""

STEP_TIME = 0.012
"""Seconds after which a step begins no further page. On SQLite, where nothing else is written meanwhile."""

SHARED_STEP_TIME = 0.05
"""The same on PostgreSQL, where only reports wait for the step."""

CANCEL_REASON = "cancelled by the operator"
"""The reason of a cancelled message; the operator's own follows it."""

_NOT_CANCELLABLE = {
    State.SENDING: "it is being sent now",
    State.UNCERTAIN: "it was perhaps sent, and the gateway still waits for a report about it",
    State.SENT: "a provider has it",
    State.REJECTED: "it was rejected already",
    State.FAILED: "it has failed already",
    State.CANCELLED: "it is cancelled already",
}


class MessageCancellation(msgspec.Struct, frozen=True, kw_only=True, rename=OUR_ID):
    """The result of an operator's request to cancel one message."""

    id: str
    cancelled: bool = False
    problem: str = ""
    """Why nothing was changed; for the operator."""


class CancelIds(NamedTuple):
    """An order to cancel these messages."""

    ids: Sequence[str]
    actor: str
    """The operator, for the audit log."""
    reason: str = ""


class Progress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far the steps of one order have come."""

    accepted_until: int
    """Only messages that were accepted by then are cancelled (milliseconds since the epoch), so that there is an end."""
    cursor: Cursor | None = None
    """Where the next step begins; None: at the beginning, or with ``done`` nowhere."""
    done: bool = False
    found: int = 0
    """Messages found that can be cancelled; they are, unless they are only counted."""
    maybe_sent: int = 0
    """Messages found that are being sent now, or whose outcome is uncertain: these are not cancelled."""


class CancelStep(NamedTuple):
    """An order to take the next step."""

    wanted: MessageFilter
    actor: str
    """The operator, for the audit log."""
    reason: str = ""
    progress: Progress | None = None
    """How far the steps before have come; None: this is the first one."""


def count(
    connection: Connection,
    wanted: MessageFilter,
    progress: Progress,
    keys: ContentKeys,
    seconds: float = STEP_TIME,
) -> Progress:
    """Count messages that an order would cancel, for about so long; return how far the count has come."""
    deadline = time.perf_counter() + seconds
    states = _states(wanted)
    for page in pages(connection, wanted, states, progress.accepted_until, keys, progress.cursor):
        progress = _after(progress, page.next, len(page.ids), maybe_sent=page.state in MAYBE_SENT)
        if time.perf_counter() > deadline:
            break
    return progress if progress.cursor else msgspec.structs.replace(progress, done=True)


def cancel(tx: Transaction, steps: Sequence[CancelStep]) -> list[tuple[Progress, Sequence[EndedMessage]]]:
    """Take a step of each order; return how far the order has come, and the messages that the step cancelled.

    The last step is recorded in the audit log, with the numbers of all steps. If it is not the first one too, the
    first one is recorded as the beginning: nothing else remains of an order whose steps stop before the last one.
    """
    return [_cancel_step(tx, step) for step in steps]


def _cancel_step(tx: Transaction, step: CancelStep) -> tuple[Progress, Sequence[EndedMessage]]:
    deadline = time.perf_counter() + (SHARED_STEP_TIME if tx.on_postgresql else STEP_TIME)
    progress = step.progress or Progress(accepted_until=tx.now)
    is_first = progress.cursor is None
    ended: list[EndedMessage] = []
    states = _states(step.wanted)
    keys = tx.policy.content_keys
    for page in pages(tx.connection, step.wanted, states, progress.accepted_until, keys, progress.cursor):
        if page.state in MAYBE_SENT:
            changed = len(page.ids)
        else:
            cancelled = cancel_messages(tx, page.ids, [page.state], step.reason)
            changed = len(cancelled)
            ended += cancelled
        progress = _after(progress, page.next, changed, maybe_sent=page.state in MAYBE_SENT)
        if time.perf_counter() > deadline:
            break
    if progress.cursor is None:
        progress = msgspec.structs.replace(progress, done=True)
    if is_first or progress.done:
        _record_step(tx, step, progress)
    return progress, ended


def _states(wanted: MessageFilter) -> Sequence[State]:
    chosen = [state for state in CANCELLABLE if state in wanted.states or not wanted.states]
    return [*chosen, *(() if wanted.states else MAYBE_SENT)]


def _after(progress: Progress, cursor: Cursor | None, messages_found: int, *, maybe_sent: bool) -> Progress:
    return msgspec.structs.replace(
        progress,
        cursor=cursor,
        found=progress.found + (0 if maybe_sent else messages_found),
        maybe_sent=progress.maybe_sent + (messages_found if maybe_sent else 0),
    )


def _record_step(tx: Transaction, step: CancelStep, progress: Progress) -> None:
    target: dict[str, str | int | Sequence[str]] = {
        name: audit.text_of_time(value) if isinstance(value, float) else value
        for name, value in msgspec.to_builtins(step.wanted).items()
    }
    # An operator may have looked for a text with an address in it, or have given a user's address for the sender.
    if step.wanted.text:
        target["text"] = redact_patterns(step.wanted.text)
    if step.wanted.sender:
        _local_part, at, domain = step.wanted.sender.rpartition("@")
        target["sender"] = redact_patterns(at + domain)
    if progress.done:
        target |= {"cancelled": progress.found, "maybe_sent": progress.maybe_sent}
    operation = "cancel" if progress.done else "cancel-begin"
    audit.append(tx, [AuditEntry(actor=step.actor, operation=operation, target=target, reason=step.reason)])


def cancel_by_ids(
    tx: Transaction, orders: Sequence[CancelIds]
) -> list[tuple[list[MessageCancellation], Sequence[EndedMessage]]]:
    """Cancel the messages of each order that wait; return a result for each of its ids."""
    return [_cancel_ids(tx, order) for order in orders]


def _cancel_ids(
    tx: Transaction, order: CancelIds
) -> tuple[list[MessageCancellation], Sequence[EndedMessage]]:
    ended = [
        one
        for chunk in id_chunks(dict.fromkeys(order.ids))
        for one in cancel_messages(tx, chunk, CANCELLABLE, order.reason)
    ]
    cancelled = {one.id for one in ended}
    others = {row.id: row for row in tx.select_by_ids(_select_states, {*order.ids} - cancelled)}
    states = {message_id: State(row.state) for message_id, row in others.items()}
    results = [_cancellation(message_id, cancelled, states.get(message_id)) for message_id in order.ids]
    clients = {one.id: one.client for one in (*ended, *others.values())}
    changes = [
        MessageChange(one, clients.get(one, ""), int(one in cancelled)) for one in dict.fromkeys(order.ids)
    ]
    audit.append_changes(tx, order.actor, "cancel", "cancelled", changes, order.reason)
    return results, ended


def _cancellation(message_id: str, cancelled: Iterable[str], state: State | None) -> MessageCancellation:
    if message_id in cancelled:
        return MessageCancellation(id=message_id, cancelled=True)
    problem = "there is no such message" if state is None else _NOT_CANCELLABLE[state]
    return MessageCancellation(id=message_id, problem=problem)


_select_states = dialect_pair(
    lambda _: select(messages.c.id, messages.c.client, messages.c.state).where(one_of(messages.c.id, IDS))
)
_IN_STATES = one_of(messages.c.state, bindparam("in_states"))
_select_waiting = dialect_pair(
    lambda add_lock: add_lock(
        select(*STATUS_COLUMNS).where(one_of(messages.c.id, IDS), _IN_STATES).order_by(messages.c.id)
    )
)
_update_to_cancelled = dialect_pair(
    lambda _: (
        update(messages)
        .where(one_of(messages.c.id, IDS))
        .values(
            state=State.CANCELLED.value,
            due_at=None,
            ended_at=bindparam("now"),
            instance="",
            reason=bindparam("new_reason"),
            code="",
        )
    )
)


def cancel_messages(
    tx: Transaction, ids: Sequence[str], states: Sequence[State], reason: str
) -> list[EndedMessage]:
    """Cancel these messages where they are in one of the states; return the ones that were cancelled.

    ``reason`` is the operator's; it may be empty.
    """
    if not ids:
        return []
    in_states = [state.value for state in states]
    rows: dict[str, Record] = {
        row.id: row for row in tx.select_by_ids(_select_waiting, sorted(ids), in_states=in_states)
    }
    if not rows:
        return []
    new_reason = f"{CANCEL_REASON}: {reason}" if reason else CANCEL_REASON
    for chunk in id_chunks(rows):
        tx.execute(_update_to_cancelled, ids=chunk, now=tx.now, new_reason=new_reason[: audit.MAX_REASON])
    delete_contents(tx, rows)
    for row in rows.values():
        counters.add(tx, counters.queued(row.client), -1)
    append_statuses(tx, rows, [NewStatus(one, Status.REJECTED) for one in rows], by_provider=False)
    return [EndedMessage(row.id, row.client, Channel(row.channel), State.CANCELLED) for row in rows.values()]
