"""The lanes of a store: which work waits for which."""

import asyncio
from collections.abc import Callable
from functools import partial

from gatepost.errors import StoreBroken
from gatepost.observe.trail import Trail
from gatepost.outbox import audit_chain, callbacks, claims, counters, plugin_state, turns, warmups
from gatepost.outbox.group_commit import Database, GroupCommit
from gatepost.outbox.measurements import Measurements
from gatepost.outbox.reports import log_statuses
from gatepost.outbox.transaction import Transaction

_NOT_REPEATABLE = (claims.claim, callbacks.claim_callbacks, *turns.WORK, *warmups.WORK, plugin_state.replace)

LANES = 4
"""On PostgreSQL: for accepting, sending, reports, and callbacks."""


def open_lanes(
    database: Database,
    begin: Callable[..., Transaction],
    failure: asyncio.Future[StoreBroken],
    trail: Trail,
    measurements: Measurements,
    holder: str,
) -> list[GroupCommit]:
    """Return one lane for each shard; ``begin`` gets the connection and ``shard``. ``holder`` is this process, where others may write too.

    SQLite has a single writer, so one lane for everything saves syncs of the disk. PostgreSQL has many writers, and there
    a request must not wait for a thousand reports.
    """

    def committed(transaction: Transaction) -> None:
        log_statuses(trail, transaction)
        audit_chain.log_appended(transaction)
        measurements.note(transaction)

    shards = [f"{holder}/{lane}" for lane in range(LANES)] if holder else [counters.ALL_SHARDS]
    return [
        GroupCommit(
            database,
            partial(begin, shard=shard),
            failure,
            _NOT_REPEATABLE,
            committed,
        )
        for shard in shards
    ]
