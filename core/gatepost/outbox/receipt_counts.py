"""The counting of sends and deliveries on split routes that follow receipts, in the commits that record them.

Only the first try counts, and only if the provider took the message. `cohorts` says where the counts are stored. Where no
route follows receipts, this costs nothing.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import bindparam, func, select

from gatepost.model import Status
from gatepost.outbox import cohorts, counters
from gatepost.outbox.cohorts import Counted, Group
from gatepost.outbox.one_of import IDS, one_of
from gatepost.outbox.records import NewStatus, SendResult
from gatepost.outbox.schema import attempts, messages, queues, statuses
from gatepost.outbox.states import State
from gatepost.outbox.transaction import Record, Transaction, dialect_pair

_DELIVERIES = frozenset({Status.DELIVERED, Status.OPENED})
"""The statuses that prove a delivery."""

_deliveries = (
    select(func.count())
    .where(
        statuses.c.message_id == messages.c.id,
        one_of(statuses.c.status, [status.value for status in _DELIVERIES]),
    )
    .scalar_subquery()
)
_first_sends = dialect_pair(
    lambda _: (
        select(
            messages.c.id,
            messages.c.country,
            queues.c.route,
            attempts.c.instance,
            attempts.c.started_at,
            _deliveries.label("deliveries"),
        )
        .join_from(attempts, messages, messages.c.id == attempts.c.message_id)
        .join(queues, queues.c.id == messages.c.queue)
        .where(
            one_of(attempts.c.message_id, IDS),
            attempts.c.attempt == 1,
            attempts.c.position == 0,
            attempts.c.outcome == "sent",
            one_of(queues.c.route, bindparam("routes")),
        )
    )
)


def count_sends(tx: Transaction, results: Sequence[SendResult], rows: Mapping[str, Record]) -> None:
    """Count each message that an instance took at the first try.

    To be called after the tries of these results are stored; ``rows`` are the messages as they were before.
    """
    if not tx.policy.balanced:
        return
    # A result may be recorded twice. The first one stores the instance.
    first = {
        one.id
        for one in results
        if one.state is State.SENT and one.attempt == 1 and not rows[one.id].instance
    }
    for row in _select_first_sends(tx, first):
        _count(tx, row, Counted.SENT)
        if row.deliveries:
            # The report was there before the answer to the send.
            _count(tx, row, Counted.DELIVERED)


def count_deliveries(tx: Transaction, reported: Sequence[NewStatus], added: Sequence[int]) -> None:
    """Count each message whose first delivery is now recorded.

    ``reported`` are statuses as ``append_statuses`` gets them, ``added`` is what it has returned for them.
    """
    if not tx.policy.balanced:
        return
    new = Counter(
        one.message_id
        for one, count in zip(reported, added, strict=True)
        if count and one.status in _DELIVERIES
    )
    for row in _select_first_sends(tx, new):
        # Otherwise another status has proved the delivery before.
        if row.deliveries == new[row.id]:
            _count(tx, row, Counted.DELIVERED)


def _select_first_sends(tx: Transaction, message_ids: Iterable[str]) -> Iterable[Record]:
    return tx.select_by_ids(_first_sends, sorted(message_ids), routes=sorted(tx.policy.balanced))


def _count(tx: Transaction, row: Record, counted: Counted) -> None:
    if row.started_at >= cohorts.oldest_period(tx.now):
        key = cohorts.counter_key(Group(row.route, row.country), row.instance, row.started_at, counted)
        counters.add(tx, key, 1)
