"""The indexes. The migrations create them; the author of the next migration reads them here.

Only a row that is not in a final state has a ``due_at``, and the indexes for claims hold only rows with one: they
stay as small as the queue is, however many finished rows there are. The index on dead callbacks is partial for the
same reason.

They are apart from the tables because the gateway itself does not need them: the PostgreSQL condition of a partial
index loads SQLAlchemy's PostgreSQL dialect, which takes a tenth of the start of a gateway on SQLite.
"""

from sqlalchemy import Column, Index, text

from gatepost.outbox.schema import attempts, messages, statistics, statuses


def _partial(name: str, where: str, *columns: Column[int] | Column[str]) -> Index:
    """Return an index over the rows for which the condition ``where`` holds."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


TROUBLED_MESSAGES = "state <> 'queued' AND state <> 'sending' AND state <> 'sent'"
"""Messages on which something went another way than usual: few, so that they are found among millions.

Not with IN: for a longer list SQLite builds a table at each write of a row, which takes microseconds."""

TROUBLED_STATUSES = "status <> 'accepted' AND status <> 'delivered' AND status <> 'opened'"
"""Statuses that few messages have."""

INDEXES = (
    _partial("messages_due", "due_at IS NOT NULL", messages.c.queue, messages.c.state, messages.c.due_at),
    _partial("messages_expires_at", "due_at IS NOT NULL", messages.c.expires_at),
    Index("messages_user", messages.c.ext_user_id, messages.c.id),
    _partial("messages_troubled", TROUBLED_MESSAGES, messages.c.state, messages.c.id),
    _partial("messages_ended_at", "ended_at IS NOT NULL", messages.c.ended_at),
    _partial("attempts_provider_id", "provider_id IS NOT NULL", attempts.c.instance, attempts.c.provider_id),
    # The target comes last, so that a paused target is skipped within the index, without reading its rows.
    _partial(
        "statuses_due",
        "due_at IS NOT NULL",
        statuses.c.callback_state,
        statuses.c.client,
        statuses.c.due_at,
        statuses.c.target,
    ),
    _partial("statistics_shards", "shard <> ''", statistics.c.period),
    _partial("statuses_troubled", TROUBLED_STATUSES, statuses.c.status, statuses.c.message_id),
    _partial(
        "statuses_dead", "callback_state = 'dead'", statuses.c.client, statuses.c.target, statuses.c.seq
    ),
)
