"""Storing the tries of results: which instance had a message when, and what came of it."""

from collections.abc import Mapping, Sequence

from gatepost.outbox.new_rows import NewRows
from gatepost.outbox.provider_ids import replace_reported_tries
from gatepost.outbox.records import SendResult
from gatepost.outbox.schema import attempts
from gatepost.outbox.states import State
from gatepost.outbox.transaction import Record, Transaction

_TRIES = NewRows(
    attempts,
    (
        *(
            "message_id",
            "attempt",
            "position",
            "instance",
            "choice",
            "outcome",
            "provider_id",
            "reason",
            "code",
        ),
        *("started_at", "duration", "parts", "counted_parts", "not_gsm7", "price", "currency"),
    ),
)


def store(tx: Transaction, results: Sequence[SendResult], messages_before: Mapping[str, Record]) -> None:
    """Store the tries of these results.

    The first result of an attempt stays: a late receipt of the same attempt may follow an earlier result.
    """
    rows: list[Sequence[object]] = []
    for result in results:
        end = tx.now
        for position, one in reversed([*enumerate(result.tries)]):
            end -= (duration := round(one.duration * 1000))
            rows.append(
                (
                    result.id,
                    result.attempt,
                    position,
                    one.instance,
                    one.choice,
                    one.outcome,
                    one.provider_id or None,
                    one.reason,
                    one.code,
                    end,
                    duration,
                    one.parts,
                    one.counted_parts,
                    one.not_gsm7,
                    one.price,
                    one.currency,
                )
            )
            end -= round(one.pause * 1000)
    if rows:
        tx.insert_new_ids(_TRIES, rows)
    # A report may have come before these answers.
    late = [result for result in results if messages_before[result.id].state != State.SENDING]
    replace_reported_tries(tx, late)
