"""What becomes of the sends of instances that warm up, counted in the commits that record it.

A failure or a complaint counts for the period in which its message was sent, so a late report belongs to its own sends. A
send that was not made gives its place back. Where nothing warms up, this costs nothing.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import Row, func, select

from gatepost.model import Status
from gatepost.outbox import counters, warmups
from gatepost.outbox.fallback import FAILURES, Progress
from gatepost.outbox.fallback_store import MatchedEvent
from gatepost.outbox.one_of import IDS, one_of
from gatepost.outbox.records import NewStatus, SendResult
from gatepost.outbox.schema import attempts
from gatepost.outbox.states import State
from gatepost.outbox.transaction import Transaction, dialect_pair

_COUNTED = FAILURES | {Status.COMPLAINED}

_select_last_tries = dialect_pair(
    lambda _: (
        select(attempts.c.message_id, attempts.c.instance, func.max(attempts.c.started_at))
        .where(one_of(attempts.c.message_id, IDS))
        .group_by(attempts.c.message_id, attempts.c.instance)
    )
)


def count_results(tx: Transaction, results: Iterable[SendResult], rows: Mapping[str, Row[Any]]) -> None:
    """Give the places back that these results did not use, and count what the providers rejected.

    ``rows`` are the messages as they were before. A result that is recorded twice, after a lost connection, counts once.
    """
    for result in results if tx.policy.warmups else ():
        if rows[result.id].state != State.SENDING:
            continue
        for (instance, period), count in Counter((one.instance, one.period) for one in result.unused).items():
            counters.add(tx, warmups.sent_key(instance, period), -count)
        # What the answer proves about the user besides (``status``) is older than this send.
        if result.state is State.REJECTED:
            _count(tx, result.instance, tx.now, Status.REJECTED)


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
    reported = {
        (one.message_id, one.instance, one.event.status)
        for one in matched
        if one.event.status in _COUNTED and one.instance in tx.policy.warmups
    }
    sent_at = _sent_at(tx, {message_id for message_id, _, _ in reported})
    for message_id, instance, status in reported:
        followed = progress.get(message_id)
        passes = followed and instance in followed.passed and instance not in rows[message_id].passed.split()
        if (message_id, instance, status) in new or (passes and status in FAILURES):
            # Of a message without a try the report has come before the answer.
            _count(tx, instance, sent_at.get((message_id, instance), tx.now), status)


def _sent_at(tx: Transaction, message_ids: Collection[str]) -> Mapping[tuple[str, str], int]:
    """Return by message and instance when the last try began."""
    rows = tx.select_by_ids(_select_last_tries, sorted(message_ids))
    return {(message_id, instance): started_at for message_id, instance, started_at in rows}


def _count(tx: Transaction, instance: str, sent_at: int, status: Status) -> None:
    """Count a failure or a complaint about a message that an instance got at ``sent_at``, if the instance warms up."""
    kind = warmups.complained_key if status is Status.COMPLAINED else warmups.failed_key
    plan = tx.policy.warmups.get(instance)
    # What is older is deleted soon, and decides nothing any more.
    if plan and sent_at >= counters.start_of_day(tx) - counters.DAY:
        counters.add(tx, kind(instance, sent_at - sent_at % plan.period), 1)
