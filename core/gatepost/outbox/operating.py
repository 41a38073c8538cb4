"""What an operator asks for: to send again what was given up, to tell again what nobody heard."""

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import Connection, func, select, update

from gatepost.model import Channel
from gatepost.outbox import deaths
from gatepost.outbox.calling import promote
from gatepost.outbox.schema import contents, messages, statuses
from gatepost.outbox.transaction import Transaction
from gatepost.statuses import State, Telling

RETRIED = "queued again by the operator"
"""Stands as the reason of a message until its next outcome."""

_AGAIN = frozenset({State.FAILED, State.HELD})

_NEVER = {
    State.QUEUED: "it is queued already",
    State.SUSPECT: "it is queued already, and will be sent alone",
    State.SENDING: "it is being sent now",
    State.UNCERTAIN: "it was perhaps sent, and the gateway still waits for a report about it",
    State.SENT: "a provider has it",
    State.REJECTED: "it was refused for good: Smartico has to send it anew, with a new uid",
}


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's wish for one message."""

    id: str
    send: bool = True
    """Queue it again if it failed or is held."""
    tell: bool = True
    """Queue its dead callbacks again."""


class Retried(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a Retry."""

    id: str
    queued: bool = False
    callbacks: int = 0
    """How many callbacks are on their way again."""
    problem: str = ""
    """Why nothing was changed, or only a part; for the operator."""


def given_up(connection: Connection, *, states: Sequence[State] = (), dead: bool = False) -> list[str]:
    """The ids of all messages in these states, or with a dead callback, in no particular order."""
    if dead:
        lost = select(statuses.c.message_id).where(statuses.c.telling == Telling.DEAD.value).distinct()
        return list(connection.execute(lost).scalars())
    mine = select(messages.c.id).where(messages.c.state.in_([state.value for state in states]))
    return list(connection.execute(mine).scalars())


def retry(tx: Transaction, asked: Sequence[tuple[Retry, Mapping[Channel, float]]]) -> list[Retried]:
    """Do for each message what its state allows; with each of them the channels' lifetimes in seconds."""
    return [_retry(tx, wish, lifetimes) for wish, lifetimes in asked]


def _retry(tx: Transaction, wish: Retry, lifetimes: Mapping[Channel, float]) -> Retried:
    columns = messages.c.state, messages.c.channel
    row = tx.connection.execute(tx.locking(select(*columns).where(messages.c.id == wish.id))).one_or_none()
    if row is None:
        return Retried(id=wish.id, problem="there is no such message")
    callbacks = _tell_again(tx, wish.id) if wish.tell else 0
    problem = _send_again(tx, wish.id, State(row.state), lifetimes[Channel(row.channel)]) if wish.send else ""
    queued = wish.send and not problem
    if callbacks and not queued and State(row.state) not in _AGAIN:
        problem = ""
    elif not callbacks and not wish.send:
        problem = "it has no dead callback"
    return Retried(id=wish.id, queued=queued, callbacks=callbacks, problem=problem)


def _send_again(tx: Transaction, identity: str, state: State, lifetime: float) -> str:
    """Queue a message that failed or is held, due now, its lifetime begun anew; returns why not.

    One that was held because it may have killed the process is tried alone. Of whoever held it last only a
    receipt counts, and only until it is claimed again: then it need not be sent twice.
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


def _tell_again(tx: Transaction, identity: str) -> int:
    """Put a message's dead callbacks back in line, with all their tries; returns how many."""
    mine = statuses.c.message_id == identity
    revived = tx.connection.execute(
        update(statuses)
        .where(mine, statuses.c.telling == Telling.DEAD.value)
        .values(telling=Telling.WAITING.value, attempt=0, due_at=None)
    ).rowcount
    if not revived:
        return 0
    # What became known later waits behind them again. A call that is under way goes on, and the next
    # begins when it has ended.
    tx.connection.execute(
        update(statuses)
        .where(mine, statuses.c.telling == Telling.QUEUED.value)
        .values(telling=Telling.WAITING.value, due_at=None)
    )
    calling = select(func.count()).where(mine, statuses.c.telling == Telling.CALLING.value)
    if not tx.connection.execute(calling).scalar_one():
        promote(tx, [identity])
    return revived
