"""Messages whose route was decided only after they were claimed: they are queued again, in the queue of their route."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select, update

from gatepost.model import Channel
from gatepost.outbox import deaths, limits, statistics
from gatepost.outbox.fence import check_fence
from gatepost.outbox.one_of import IDS, one_of
from gatepost.outbox.queues import add_queues
from gatepost.outbox.records import Limit, Queue
from gatepost.outbox.schema import messages
from gatepost.outbox.transaction import Record, Transaction, dialect_pair

_claimed_rows = dialect_pair(
    lambda add_lock: add_lock(
        select(
            messages.c.id,
            messages.c.attempt,
            messages.c.holder,
            messages.c.state,
            messages.c.queue,
            messages.c.country,
            messages.c.created_at,
        )
        .where(one_of(messages.c.id, IDS))
        .order_by(messages.c.id)
    )
)
_move = (
    update(messages)
    .where(messages.c.id == bindparam("message_id"))
    .values(
        queue=bindparam("new_queue"),
        country=bindparam("new_country"),
        state=deaths.waiting_state,
        due_at=bindparam("now"),
    )
)


class Decision(NamedTuple):
    """The route of a claimed message."""

    id: str
    attempt: int
    channel: Channel
    client: str
    route: str
    country: str
    limits: Sequence[Limit] = ()
    """The limits of the route, which could not be judged before."""


def move(tx: Transaction, decisions: Sequence[Decision]) -> list[Queue | Limit | None]:
    """Move each claimed message to the queue of its route, where it is due at once; return that queue.

    A limit is returned for a message that is not moved because that limit is reached; its claim goes on. None: the claim
    was lost. The attempt stays counted: it is part of the fence, and no result of this claim may pass for one of the next.
    """
    names = [(decision.channel, decision.route, decision.client) for decision in decisions]
    queues = add_queues(tx, sorted(set(names)))
    ids = [decision.id for decision in decisions]
    rows: dict[str, Record] = {row.id: row for row in tx.select_by_ids(_claimed_rows, sorted(set(ids)))}
    no_late = [False] * len(ids)
    valid = check_fence(tx, ids, decisions, rows, allow_late=no_late)
    moved: list[Queue | Limit | None] = [
        (limits.admit(tx, decision.limits) or queues[name]) if is_valid else None
        for decision, name, is_valid in zip(decisions, names, valid, strict=True)
    ]
    changes: list[dict[str, Any]] = [
        {
            "message_id": decision.id,
            "new_queue": queue.id,
            "new_country": decision.country,
            "now": tx.now,
        }
        for decision, queue in zip(decisions, moved, strict=True)
        if isinstance(queue, Queue)
    ]
    if changes:
        tx.execute_many(_move, changes)
    for change in changes:
        _count_as(tx, rows[change["message_id"]], change["new_queue"], change["new_country"])
    return moved


def _count_as(tx: Transaction, row: Record, queue: int, country: str) -> None:
    """Count a stored message for the queue that it has now, and no more for the one before."""
    count = partial(statistics.add, tx, statistics.STORED, created_at=row.created_at)
    count(queue=row.queue, country=row.country, amount=-1)
    count(queue=queue, country=country)
