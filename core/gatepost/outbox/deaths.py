"""Deaths of the process (crashes and kills), counted for each message that it was sending at that moment.

Any of these messages may have caused the death. After two deaths a message is a suspect and is sent alone; a
message that was being sent at a third death is held, so that it can't cause another. A clean stop leaves no message
claimed, and a lease that ended in a process that still runs was merely late: neither counts as a death. On
PostgreSQL the only sign of a death is that the lease of another replica ended.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, case, literal, update

from gatepost.observe import logs
from gatepost.outbox.schema import messages
from gatepost.outbox.states import State
from gatepost.outbox.transaction import Transaction

SUSPECT_DEATHS = 2
"""Deaths after which a message is sent alone."""

MAX_DEATHS = 3
"""Deaths after which a message is held."""

HELD_REASON = "the process died three times while it was sending this message"
"""The reason of a message that is held after MAX_DEATHS."""

waiting_state: ColumnElement[str] = case(
    (messages.c.deaths >= SUSPECT_DEATHS, State.SUSPECT.value), else_=State.QUEUED.value
)
"""The state in which a message waits for its next attempt."""

deaths_after_retry: ColumnElement[int] = case(
    (messages.c.deaths > SUSPECT_DEATHS, SUSPECT_DEATHS), else_=messages.c.deaths
)
"""The number of deaths after an operator's retry: the message is a suspect, and held at the next death."""

_log = logs.get(__name__)


class ExpiredClaims(NamedTuple):
    """Claims that were ended because their process died or their lease ran out."""

    total: int
    held_ids: Sequence[str]
    """Ids of the messages that are now held, after MAX_DEATHS."""


def expire_claims(tx: Transaction, where: ColumnElement[bool]) -> ExpiredClaims:
    """End the claims of the messages for which ``where`` holds: whether they were sent is not known."""
    deaths = messages.c.deaths + case((messages.c.holder != tx.holder, 1), else_=0)
    is_held = deaths >= MAX_DEATHS
    wait_end = literal(tx.after(tx.policy.uncertain_wait), messages.c.due_at.type)
    values: dict[str, Any] = {
        "deaths": deaths,
        "state": case((is_held, State.HELD.value), else_=State.UNCERTAIN.value),
        "due_at": case((is_held, messages.c.expires_at), else_=wait_end),
        "reason": case((is_held, HELD_REASON), else_="the process that was sending it was lost"),
    }
    expire = update(messages).where(where).values(values).returning(messages.c.id, messages.c.state)
    rows = tx.connection.execute(expire).all()
    return ExpiredClaims(len(rows), [row.id for row in rows if row.state == State.HELD])


def log_held(message_ids: Sequence[str]) -> None:
    """Log each of these held messages for the operator."""
    for message_id in message_ids:
        _log.error("message_held", message=message_id, reason=HELD_REASON)
