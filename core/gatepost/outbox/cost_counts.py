"""What text messages cost, for the statistics: their parts, and their price where the provider says it."""

from collections.abc import Mapping, Sequence

from sqlalchemy import select

from gatepost.outbox import statistics
from gatepost.outbox.fallback_store import REPORT_POSITION
from gatepost.outbox.one_of import IDS, one_of
from gatepost.outbox.records import SendResult, Try
from gatepost.outbox.schema import attempts
from gatepost.outbox.states import State
from gatepost.outbox.transaction import Record, Transaction, dialect_pair


def count_costs(tx: Transaction, results: Sequence[SendResult], rows: Mapping[str, Record]) -> None:
    """Count what the messages cost that a provider took. To be called before the tries of these results are stored.

    ``rows`` are the messages as they were before. A result that is recorded twice, after a lost connection, counts once.
    """
    receipts = {result.id: result for result in results if result.state is State.SENT}
    late = {message_id for message_id in receipts if rows[message_id].state != State.SENDING}
    counted = _answered(tx, late) if late else ()
    for message_id, result in receipts.items():
        if (message_id, result.attempt) not in counted:
            for one in result.tries:
                _count(tx, rows[message_id], one)


def _count(tx: Transaction, row: Record, one: Try) -> None:
    if one.parts:
        statistics.add_of(tx, row, one.instance, statistics.PARTS, one.parts)
    if one.counted_parts:
        statistics.add_of(tx, row, one.instance, statistics.COUNTED_PARTS, one.counted_parts)
    if one.price and (units := statistics.price_units(one.price)):
        statistics.add_of(tx, row, one.instance, statistics.price_in(one.currency), units)


_select_answered = dialect_pair(
    lambda _: select(attempts.c.message_id, attempts.c.attempt).where(
        one_of(attempts.c.message_id, IDS), attempts.c.position < REPORT_POSITION
    )
)


def _answered(tx: Transaction, message_ids: set[str]) -> set[tuple[str, int]]:
    """Return the attempts of these messages whose answer is stored already."""
    return {(row.message_id, row.attempt) for row in tx.select_by_ids(_select_answered, sorted(message_ids))}
