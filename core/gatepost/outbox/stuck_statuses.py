"""The search for stuck statuses: they wait, but no status of the same message is queued or being called.

A waiting status has no due time: it is queued when the callback of the status before it ends. No step of the gateway
leaves a status stuck. If a bug ever does, the status waits for ever without this search.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, exists, select

from gatepost.outbox.callback_results import lock_messages, queue_next_statuses
from gatepost.outbox.one_of import one_of
from gatepost.outbox.schema import statuses
from gatepost.outbox.states import CallbackState
from gatepost.outbox.transaction import Transaction

SEARCH_BATCH = 2_000
"""Statuses that one step of the search reads, so that a step never takes long."""

_ACTIVE = (CallbackState.QUEUED.value, CallbackState.CALLING.value)
_others = statuses.alias()
_stuck = select(statuses.c.message_id).where(
    statuses.c.seq.between(bindparam("first"), bindparam("last")),
    statuses.c.callback_state == CallbackState.WAITING.value,
    ~exists().where(_others.c.message_id == statuses.c.message_id, one_of(_others.c.callback_state, _ACTIVE)),
)


class SearchStep(NamedTuple):
    """The result of one step of the search."""

    queued: int
    """How many stuck statuses were found and queued."""
    last_seq: int
    """The last status that was read; 0 at the end of the table: the next step starts at the first status."""


def queue_stuck_statuses(tx: Transaction, after_seqs: Sequence[int]) -> list[SearchStep]:
    """Queue the stuck statuses among the SEARCH_BATCH statuses that follow each of ``after_seqs``."""
    return [_search(tx, after_seq) for after_seq in after_seqs]


def _search(tx: Transaction, after_seq: int) -> SearchStep:
    batch = select(statuses.c.seq).where(statuses.c.seq > after_seq).order_by(statuses.c.seq)
    seqs = list(tx.connection.execute(batch.limit(SEARCH_BATCH)).scalars())
    if not seqs:
        return SearchStep(0, 0)
    limits = {"first": seqs[0], "last": seqs[-1]}
    stuck = set(tx.connection.execute(_stuck, limits).scalars())
    if stuck:
        # Lock, then read again: on PostgreSQL another replica may have queued the status meanwhile.
        lock_messages(tx, stuck)
        stuck &= set(tx.connection.execute(_stuck, limits).scalars())
    return SearchStep(queue_next_statuses(tx, stuck), seqs[-1] if len(seqs) == SEARCH_BATCH else 0)
