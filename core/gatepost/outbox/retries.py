"""What an operator asks for: to send again what was given up, to tell now what was not heard."""

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import Connection, or_, select, update

from gatepost.model import Channel
from gatepost.outbox import deaths
from gatepost.outbox.callbacks import hold, promote
from gatepost.outbox.records import OUR_ID
from gatepost.outbox.schema import contents, messages, statuses
from gatepost.outbox.states import CallbackState, State
from gatepost.outbox.transaction import IDS, Transaction, chunks, dialect_pair

RETRIED = "queued again by the operator"
"""Stands as the reason of a message until its next outcome."""

_NOBODY = "there is no such message"

_AGAIN = frozenset({State.FAILED, State.HELD})

_NEVER = {
    State.QUEUED: "it is queued already",
    State.SUSPECT: "it is queued already, and will be sent alone",
    State.SENDING: "it is being sent now",
    State.UNCERTAIN: "it was perhaps sent, and the gateway still waits for a report about it",
    State.SENT: "a provider has it",
    State.REJECTED: "it was refused for good: Smartico has to send it anew, with a new uid",
}


class MessageRetry(msgspec.Struct, frozen=True, kw_only=True, rename=OUR_ID):
    """What came of an operator's wish to send a message again."""

    id: str
    queued: bool = False
    problem: str = ""
    """Why nothing was changed; for the operator."""


class CallbackRetry(msgspec.Struct, frozen=True, kw_only=True, rename=OUR_ID):
    """What came of an operator's wish to tell now what a message's callbacks have to tell."""

    id: str
    client: str = ""
    target: str = ""
    """``host:port`` that is called."""
    callbacks: int = 0
    """How many were waiting or given up, and are on their way now."""
    problem: str = ""
    """Why nothing was changed; for the operator."""


def given_up(connection: Connection, states: Sequence[State]) -> list[str]:
    """The ids of all messages in these states, in no particular order."""
    mine = select(messages.c.id).where(messages.c.state.in_([state.value for state in states]))
    return list(connection.execute(mine).scalars())


def failed_callbacks(connection: Connection, *, client: str = "", host: str = "") -> list[str]:
    """The ids of all messages with a callback that failed: it waits for its next try, or was given up.

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
        # An IPv6 address is all colons; with a port it has its brackets.
        name = f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host
        target = statuses.c.target
        query = query.where(
            or_(target == name.lower(), target.startswith(f"{name.lower()}:", autoescape=True))
        )
    return list(connection.execute(query).scalars())


def retry(tx: Transaction, asked: Sequence[tuple[str, Mapping[Channel, float]]]) -> list[MessageRetry]:
    """Queue each message again if it failed or is held; with its id the channels' lifetimes in seconds."""
    return [_retry(tx, identity, lifetimes) for identity, lifetimes in asked]


def _retry(tx: Transaction, identity: str, lifetimes: Mapping[Channel, float]) -> MessageRetry:
    columns = messages.c.state, messages.c.channel
    row = tx.connection.execute(tx.locking(select(*columns).where(messages.c.id == identity))).one_or_none()
    if row is None:
        return MessageRetry(id=identity, problem=_NOBODY)
    problem = _send_again(tx, identity, State(row.state), lifetimes[Channel(row.channel)])
    return MessageRetry(id=identity, queued=not problem, problem=problem)


def _send_again(tx: Transaction, identity: str, state: State, lifetime: float) -> str:
    """Queue a message that failed or is held, due now, its lifetime begun anew; returns why not.

    One that was held because it may have killed the process is tried alone. From its previous holder only a
    receipt counts, until the message is claimed again: then it need not be sent twice.
    """
    if state not in _AGAIN:
        return _NEVER[state]
    kept = select(contents.c.message_id).where(contents.c.message_id == identity)
    if tx.connection.execute(kept).one_or_none() is None:
        return "its content is erased: Smartico has to send it anew, with a new uid"
    tx.connection.execute(
        update(messages)
        .where(messages.c.id == identity)
        .values(
            state=deaths.waiting_state,
            deaths=deaths.deaths_after_retry,
            due_at=tx.now,
            expires_at=tx.after(lifetime),
            ended_at=None,
            unanswered=0,
            reason=RETRIED,
            code="",
        )
    )
    return ""


_callbacks = dialect_pair(
    lambda _: (
        select(
            messages.c.id, statuses.c.client, statuses.c.target, statuses.c.callback_state, statuses.c.due_at
        )
        .select_from(messages.outerjoin(statuses, statuses.c.message_id == messages.c.id))
        .where(messages.c.id.in_(IDS))
    )
)
_under_way = dialect_pair(
    lambda _: select(statuses.c.message_id).where(
        statuses.c.message_id.in_(IDS), statuses.c.callback_state == CallbackState.CALLING.value
    )
)
_reviving = dialect_pair(
    lambda _: (
        update(statuses)
        .where(
            statuses.c.message_id.in_(IDS),
            statuses.c.callback_state.in_([CallbackState.DEAD.value, CallbackState.QUEUED.value]),
        )
        .values(callback_state=CallbackState.WAITING.value, attempt=0, due_at=None)
    )
)


def retry_callbacks(tx: Transaction, asked: Sequence[Sequence[str]]) -> list[list[CallbackRetry]]:
    """Have the callbacks of these messages made now that wait for their next try or were given up.

    They have all their tries again, and are made in the order in which their statuses became known.
    """
    return [_retry_callbacks(tx, ids) for ids in asked]


def _retry_callbacks(tx: Transaction, ids: Sequence[str]) -> list[CallbackRetry]:
    hold(tx, ids)
    found: dict[str, CallbackRetry] = {}
    for row in tx.execute_about(_callbacks, sorted(set(ids))):
        late = row.callback_state == CallbackState.DEAD or (
            row.callback_state == CallbackState.QUEUED and row.due_at > tx.now
        )
        before = found.get(row.id)
        found[row.id] = CallbackRetry(
            id=row.id,
            client=row.client or "",
            target=row.target or "",
            callbacks=late + (before.callbacks if before else 0),
        )
    moved = {identity for identity, one in found.items() if one.callbacks}
    for some in chunks(sorted(moved)):
        tx.execute(_reviving, ids=some)
    # A call that is under way goes on, and the next begins when it has ended. Asked now, as nothing of these
    # messages can be claimed any more.
    promote(tx, moved - {row.message_id for row in tx.execute_about(_under_way, sorted(moved))})
    return [_told_of(identity, found.get(identity)) for identity in ids]


def _told_of(identity: str, callback_retries: CallbackRetry | None) -> CallbackRetry:
    if callback_retries is None:
        return CallbackRetry(id=identity, problem=_NOBODY)
    if callback_retries.callbacks:
        return callback_retries
    return msgspec.structs.replace(
        callback_retries, problem="none of its callbacks waits for another try or was given up"
    )
