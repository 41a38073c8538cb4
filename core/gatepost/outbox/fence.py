"""The fence of messages: only the holder of the newest claim may record a result.

That of callbacks is in the statement that records their results.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gatepost.outbox.states import State
from gatepost.outbox.transaction import Transaction


class Result(Protocol):
    """The result of a claim."""

    @property
    def attempt(self) -> int:
        """The attempt of the claim; together with the process's holder id it is the fence."""


def check_fence(
    tx: Transaction,
    ids: Sequence[str],
    results: Sequence[Result],
    rows: Mapping[str, Any],
    *,
    allow_late: Sequence[bool],
) -> list[bool]:
    """Return for each result whether it counts: this process holds the claim, and no later claim was made.

    ``ids`` are those of the results' messages, in their order; ``rows`` holds holder, attempt and state of each message
    that exists. It must still be in the state SENDING, unless ``allow_late`` (one per result) is true. Of two results of
    one claim the first counts; the second is treated as if the claim had ended before it.
    """
    attempts = {row_id: row.attempt for row_id, row in rows.items() if row.holder == tx.holder}
    claimed = {row_id for row_id, row in rows.items() if row.state == State.SENDING}
    valid = []
    for row_id, result, may_be_late in zip(ids, results, allow_late, strict=True):
        is_valid = attempts.get(row_id) == result.attempt and (may_be_late or row_id in claimed)
        valid.append(is_valid)
        if is_valid:
            claimed.discard(row_id)
    return valid
