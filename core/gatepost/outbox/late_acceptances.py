"""The counting of messages that were given up, and that a provider has after all, as a report proves."""

from collections.abc import Mapping, Sequence

from sqlalchemy import select

from gatepost.model import Status
from gatepost.outbox import statistics
from gatepost.outbox.fallback_store import MatchedEvent
from gatepost.outbox.one_of import IDS, one_of
from gatepost.outbox.records import EndedMessage
from gatepost.outbox.schema import statuses
from gatepost.outbox.states import GIVEN_UP_STATES, State
from gatepost.outbox.transaction import Record, Transaction, dialect_pair

_select_accepted = dialect_pair(
    lambda _: select(statuses.c.message_id).where(
        one_of(statuses.c.message_id, IDS), statuses.c.status == Status.ACCEPTED.value
    )
)


def count(
    tx: Transaction,
    rows: Mapping[str, Record],
    matched: Sequence[MatchedEvent],
    ended: Sequence[EndedMessage],
) -> None:
    """Count as accepted the messages that these reports have ended as sent, and that were given up before.

    Of the others the status itself is counted. It never follows another one. ``rows`` are the messages as they were.
    """
    late = {one.id for one in ended if one.state is State.SENT and rows[one.id].state in GIVEN_UP_STATES}
    accepted = {row.message_id for row in tx.select_by_ids(_select_accepted, sorted(late))}
    instances = {one.message_id: one.instance for one in reversed(matched)}
    for message_id in sorted(late - accepted):
        statistics.add_of(tx, rows[message_id], instances[message_id], Status.ACCEPTED.value)
