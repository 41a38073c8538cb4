"""Retries that an operator asks for: send messages again, call back now."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, or_, select, update

from gatepost.model import Channel
from gatepost.outbox import audit, counters, deaths
from gatepost.outbox.audit import MessageChange
from gatepost.outbox.callback_results import lock_messages, queue_next_statuses
from gatepost.outbox.message_filter import MessageFilter, conditions
from gatepost.outbox.one_of import IDS, one_of
from gatepost.outbox.records import OUR_ID
from gatepost.outbox.schema import contents, messages, statuses
from gatepost.outbox.states import FINAL_STATES, CallbackState, State
from gatepost.outbox.transaction import Transaction, dialect_pair, id_chunks

RETRY_REASON = "queued again by the operator"
"""The reason of a retried message until the result of its next attempt."""

_NOT_FOUND = "there is no such message"

RETRYABLE = frozenset({State.FAILED, State.HELD})
"""States of a message that can be sent again, as long as its content is stored."""

_NOT_RETRYABLE = {
    State.QUEUED: "it is queued already",
    State.SUSPECT: "it is queued already, and will be sent alone",
    State.SENDING: "it is being sent now",
    State.UNCERTAIN: "it was perhaps sent, and the gateway still waits for a report about it",
    State.AWAITING: "an instance of its route has it, and the gateway still waits for its delivery",
    State.SENT: "a provider has it",
    State.REJECTED: "a provider refused it for good: Smartico has to send it again with a new uid",
    State.CANCELLED: "an operator cancelled it: Smartico has to send it again with a new uid",
}


class MessageRetry(msgspec.Struct, frozen=True, kw_only=True, rename=OUR_ID):
    """The result of an operator's request to send a message again."""

    id: str
    client: str = ""
    queued: bool = False
    problem: str = ""
    """Why nothing was changed; for the operator."""


class CallbackRetry(msgspec.Struct, frozen=True, kw_only=True, rename=OUR_ID):
    """The result of an operator's request to make a message's callbacks now."""

    id: str
    client: str = ""
    target: str = ""
    """``host:port`` that is called."""
    callbacks: int = 0
    """How many callbacks waited for a retry or were dead, and are queued now."""
    problem: str = ""
    """Why nothing was changed; for the operator."""


def ids_in_states(connection: Connection, wanted: MessageFilter) -> list[str]:
    """Return the ids of all messages in the states of a filter for which its conditions hold, in no particular order."""
    return list(connection.execute(select(messages.c.id).where(*conditions(wanted))).scalars())


def ids_with_failed_callbacks(connection: Connection, *, client: str = "", host: str = "") -> list[str]:
    """Return the ids of all messages with a failed callback: it waits for its next attempt, or is dead.

    Only of this ``client``, and only to this ``host``: a name or an address, with or without a port.
    """
    failed = or_(
        statuses.c.callback_state == CallbackState.DEAD.value,
        (statuses.c.callback_state == CallbackState.QUEUED.value) & (statuses.c.attempt > 0),
    )
    query = select(statuses.c.message_id).where(failed).distinct()
    if client:
        query = query.where(statuses.c.client == client)
    if host:
        # An IPv6 address without brackets has several colons and no port.
        name = f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host
        target = statuses.c.target
        query = query.where(
            or_(target == name.lower(), target.startswith(f"{name.lower()}:", autoescape=True))
        )
    return list(connection.execute(query).scalars())


class RetryOrder(NamedTuple):
    """What an operator asks for."""

    ids: Sequence[str]
    """The messages."""
    actor: str
    """The operator, for the audit log."""
    lifetimes: Mapping[Channel, float] = {}
    """Seconds that a message is tried from now on; of no use for callbacks."""


def retry(tx: Transaction, orders: Sequence[RetryOrder]) -> list[list[MessageRetry]]:
    """Queue the messages of each order again, those that failed or are held."""
    return [_retry_all(tx, order) for order in orders]


def _retry_all(tx: Transaction, order: RetryOrder) -> list[MessageRetry]:
    results = [_retry(tx, message_id, order.lifetimes) for message_id in order.ids]
    changes = [MessageChange(one.id, one.client, int(one.queued)) for one in results]
    audit.append_changes(tx, order.actor, "retry", "queued", changes)
    return results


def _retry(tx: Transaction, message_id: str, lifetimes: Mapping[Channel, float]) -> MessageRetry:
    query = select(messages.c.state, messages.c.channel, messages.c.client).where(messages.c.id == message_id)
    row = tx.connection.execute(tx.with_lock(query)).one_or_none()
    if row is None:
        return MessageRetry(id=message_id, problem=_NOT_FOUND)
    state = State(row.state)
    problem = _queue_again(tx, message_id, state, lifetimes[Channel(row.channel)])
    if not problem and state in FINAL_STATES:
        counters.add(tx, counters.queued(row.client), 1)
    return MessageRetry(id=message_id, client=row.client, queued=not problem, problem=problem)


def _queue_again(tx: Transaction, message_id: str, state: State, lifetime: float) -> str:
    """Queue a failed or held message, due now, with a new lifetime; return why not, or an empty text.

    A message that was held because the process died is sent alone. Until the message is claimed again, only a receipt
    counts from the process that claimed it before: then it need not be sent twice.
    """
    if state not in RETRYABLE:
        return _NOT_RETRYABLE[state]
    content = select(contents.c.message_id).where(contents.c.message_id == message_id)
    if tx.connection.execute(content).one_or_none() is None:
        return "its content is erased: Smartico has to send it again with a new uid"
    tx.connection.execute(
        update(messages)
        .where(messages.c.id == message_id)
        .values(
            state=deaths.waiting_state,
            deaths=deaths.deaths_after_retry,
            due_at=tx.now,
            expires_at=tx.after(lifetime),
            ended_at=None,
            lost_answers=0,
            passed="",
            reason=RETRY_REASON,
            code="",
        )
    )
    return ""


_select_callbacks = dialect_pair(
    lambda _: (
        select(
            messages.c.id, messages.c.client, statuses.c.target, statuses.c.callback_state, statuses.c.due_at
        )
        .select_from(messages.outerjoin(statuses, statuses.c.message_id == messages.c.id))
        .where(one_of(messages.c.id, IDS))
    )
)
_select_calling = dialect_pair(
    lambda _: select(statuses.c.message_id).where(
        one_of(statuses.c.message_id, IDS), statuses.c.callback_state == CallbackState.CALLING.value
    )
)
_reset_callbacks = dialect_pair(
    lambda _: (
        update(statuses)
        .where(
            one_of(statuses.c.message_id, IDS),
            one_of(statuses.c.callback_state, [CallbackState.DEAD.value, CallbackState.QUEUED.value]),
        )
        .values(callback_state=CallbackState.WAITING.value, attempt=0, due_at=None)
    )
)


def tell(tx: Transaction, orders: Sequence[RetryOrder]) -> list[list[CallbackRetry]]:
    """Queue now the callbacks of each order's messages that wait for their next attempt or are dead.

    They get all their attempts again, and are made in the order in which their statuses became known.
    """
    return [_tell_all(tx, order) for order in orders]


def _tell_all(tx: Transaction, order: RetryOrder) -> list[CallbackRetry]:
    results = _tell(tx, order.ids)
    changes = [MessageChange(one.id, one.client, one.callbacks) for one in results]
    audit.append_changes(tx, order.actor, "tell", "callbacks", changes)
    return results


def _tell(tx: Transaction, ids: Sequence[str]) -> list[CallbackRetry]:
    lock_messages(tx, ids)
    found: dict[str, CallbackRetry] = {}
    for row in tx.select_by_ids(_select_callbacks, sorted(set(ids))):
        is_late = row.callback_state == CallbackState.DEAD or (
            row.callback_state == CallbackState.QUEUED and row.due_at > tx.now
        )
        before = found.get(row.id)
        found[row.id] = CallbackRetry(
            id=row.id,
            client=row.client,
            target=row.target or "",
            callbacks=is_late + (before.callbacks if before else 0),
        )
    retried = {message_id for message_id, one in found.items() if one.callbacks}
    for chunk in id_chunks(sorted(retried)):
        tx.execute(_reset_callbacks, ids=chunk)
    # A callback in progress goes on, and the next one starts after it. Read only now: after the update above no
    # other callback of these messages can be claimed.
    calling = {row.message_id for row in tx.select_by_ids(_select_calling, sorted(retried))}
    queue_next_statuses(tx, retried - calling)
    return [_callback_retry(message_id, found.get(message_id)) for message_id in ids]


def _callback_retry(message_id: str, found: CallbackRetry | None) -> CallbackRetry:
    if found is None:
        return CallbackRetry(id=message_id, problem=_NOT_FOUND)
    if found.callbacks:
        return found
    return msgspec.structs.replace(
        found, problem="none of its callbacks waits for another try or was given up"
    )
