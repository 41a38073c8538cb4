"""The indexes; made by the migrations, and looked at by whoever writes the next one.

Only what is not at its end has a ``due_at``, and the indexes that claims run on hold only such rows: they
stay as small as the queue is, whatever has piled up behind it. So does the one on what was given up.

Apart from the tables, because nothing that runs needs them: to say on PostgreSQL which rows an index holds
loads SQLAlchemy's part for PostgreSQL, a tenth of the time in which a gateway on SQLite starts.
"""

from sqlalchemy import Column, Index, text

from gatepost.outbox.schema import messages, statuses


def _partial(name: str, where: str, *columns: Column[int] | Column[str]) -> Index:
    """Over the rows of which this holds."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


INDEXES = (
    _partial("messages_due", "due_at IS NOT NULL", messages.c.channel, messages.c.state, messages.c.due_at),
    _partial("messages_expiring", "due_at IS NOT NULL", messages.c.expires_at),
    _partial("messages_ended", "ended_at IS NOT NULL", messages.c.ended_at),
    _partial("messages_provider", "provider_id IS NOT NULL", messages.c.instance, messages.c.provider_id),
    # The target is the last, so that what rests is passed over without a look at its row.
    _partial(
        "statuses_due",
        "due_at IS NOT NULL",
        statuses.c.callback_state,
        statuses.c.client,
        statuses.c.due_at,
        statuses.c.target,
    ),
    _partial("statuses_dead", "callback_state = 'dead'", statuses.c.callback_state),
)
