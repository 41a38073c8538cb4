"""What becomes of the sends of instances that warm up, counted in the commits that record it.

A failure or a complaint counts for the period in which its message was sent, so a late report belongs to its own sends. A
send that was not made gives its place back. Where nothing warms up, this costs nothing.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Row

from gatepost.model import Status
from gatepost.outbox import counters, warmups
from gatepost.outbox.fallback import FAILURES, Progress
from gatepost.outbox.fallback_store import MatchedEvent
from gatepost.outbox.records import NewStatus, SendResult
from gatepost.outbox.states import State
from gatepost.outbox.transaction import Transaction

_COUNTED = FAILURES | {Status.COMPLAINED}


def count_results(tx: Transaction, results: Iterable[SendResult], rows: Mapping[str, Row[Any]]) -> None:
    """Give the places back that these results did not use, and count what the providers rejected.

    ``rows`` are the messages as they were before. A result that is recorded twice, after a lost connection, counts once.
    """
    for result in results if tx.policy.warmups else ():
        if rows[result.id].state != State.SENDING:
            continue
        for (instance, period), count in Counter((one.instance, one.period) for one in result.unused).items():
            counters.add(tx, warmups.sent_key(instance, period), -count)
        if result.state is State.REJECTED:
            _count(tx, result.instance, tx.now, Status.REJECTED)
        if result.status is not None:
            _count(tx, result.instance, tx.now, result.status)


def count_reports(
    tx: Transaction,
    rows: Mapping[str, Row[Any]],
    matched: Iterable[MatchedEvent],
    recorded: Iterable[NewStatus],
    progress: Mapping[str, Progress],
) -> None:
    """Count the failures and complaints of these reports, each once a message.

    ``rows`` are the messages as they were before, ``recorded`` the statuses that are new, and ``progress`` is that of the
    messages on routes with ``next_after``: there the failure of a member is no status, so it counts when the member passes.
    """
    if not tx.policy.warmups:
        return
    new = {(one.message_id, one.instance, one.status) for one in recorded}
    for message_id, instance, status in {(one.message_id, one.instance, one.event.status) for one in matched}:
        row, followed = rows[message_id], progress.get(message_id)
        passes = followed and instance in followed.passed and instance not in row.passed.split()
        if (message_id, instance, status) in new or (passes and status in FAILURES):
            _count(tx, instance, row.ended_at if row.state == State.SENT else tx.now, status)


def _count(tx: Transaction, instance: str, sent_at: int, status: Status) -> None:
    """Count a status of a message that an instance got at ``sent_at``, if it says how such sends are received."""
    kind = warmups.complained_key if status is Status.COMPLAINED else warmups.failed_key
    plan = tx.policy.warmups.get(instance)
    # What is older is deleted soon, and decides nothing any more.
    if plan and status in _COUNTED and sent_at >= counters.start_of_day(tx) - counters.DAY:
        counters.add(tx, kind(instance, sent_at - sent_at % plan.period), 1)
