"""What a death of the process says about the messages that it had in hand.

Any of them may have caused it. After two deaths a message is a suspect and is sent alone; who is in hand at the
third is held, so that it kills no more. A clean stop leaves nothing in hand, and a claim of a process that lives
and was merely late says nothing. On PostgreSQL a lease that ended is the only sign of a death that there is.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, case, func, literal, select, update

from gatepost.model import Channel
from gatepost.observe import logs
from gatepost.outbox.schema import messages
from gatepost.outbox.states import State
from gatepost.outbox.transaction import Transaction

SUSPECT = 2
"""Deaths after which a message is sent alone."""

MOST = 3
"""Deaths after which a message is held."""

REASON = "in hand at three deaths of the process"
"""Of a message that is held for that."""

waiting_state: ColumnElement[str] = case(
    (messages.c.deaths >= SUSPECT, State.SUSPECT.value), else_=State.QUEUED.value
)
"""The state in which a message waits for its next try."""

deaths_after_retry: ColumnElement[int] = case((messages.c.deaths > SUSPECT, SUSPECT), else_=messages.c.deaths)
"""The deaths after an operator's retry: the message is a suspect, and held at the next death."""

_log = logs.get(__name__)


class Orphaned(NamedTuple):
    """Claims whose sender is gone."""

    lost: int
    held: Sequence[str]
    """Ids of those that were in hand at MOST deaths."""


def orphan(tx: Transaction, which: ColumnElement[bool]) -> Orphaned:
    """Take these claims from their senders: whether they were sent is not known."""
    deaths = messages.c.deaths + case((messages.c.holder != tx.holder, 1), else_=0)
    deadly = deaths >= MOST
    wait = literal(tx.after(tx.policy.uncertain_wait), messages.c.due_at.type)
    values: dict[str, Any] = {
        "deaths": deaths,
        "state": case((deadly, State.HELD.value), else_=State.UNCERTAIN.value),
        "due_at": case((deadly, messages.c.expires_at), else_=wait),
        "reason": case((deadly, REASON), else_="the sender was lost"),
    }
    moved = update(messages).where(which).values(values).returning(messages.c.id, messages.c.state)
    rows = tx.connection.execute(moved).all()
    return Orphaned(len(rows), [row.id for row in rows if row.state == State.HELD])


any_channel = messages.c.channel.in_([channel.value for channel in Channel])
"""The index on what is due begins with the channel."""


def channels_with_suspects(tx: Transaction, asked: Sequence[None]) -> list[Sequence[Channel]]:
    """The channels in which a suspect is due, the longest due first."""
    due = (
        select(messages.c.channel)
        .where(any_channel, messages.c.state == State.SUSPECT.value, messages.c.due_at <= tx.now)
        .group_by(messages.c.channel)
        .order_by(func.min(messages.c.due_at))
    )
    channels = [Channel(name) for name in tx.connection.execute(due).scalars()]
    return [channels] * len(asked)


def log_held(held: Sequence[str]) -> None:
    """Tell the operator of each message that was held."""
    for identity in held:
        _log.error("message_held", message=identity, reason=REASON)
