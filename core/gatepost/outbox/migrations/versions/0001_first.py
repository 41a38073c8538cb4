"""The tables of the messages, and of what is counted and refused."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables and indexes of messages, statuses and counts."""
    _create_queues()
    _create_messages()
    _create_contents()
    _create_attempts()
    _create_statuses()
    _create_counters()
    _create_statistics()
    _create_refusals()


def _create_queues() -> None:
    op.create_table(
        "queues",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("client", sa.Text, nullable=False),
        sa.UniqueConstraint("channel", "route", "client", name="queues_once"),
        sqlite_strict=True,
    )


def _create_messages() -> None:
    op.create_table(
        "messages",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("uid", sa.Text, nullable=False),
        sa.Column("queue", sa.Integer, nullable=False),
        sa.Column("country", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("ext_user_id", sa.Text, nullable=False),
        sa.Column("preview", sa.Text, nullable=False),
        sa.Column("callback_url", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("due_at", _big),
        sa.Column("created_at", _big, nullable=False),
        sa.Column("expires_at", _big, nullable=False),
        sa.Column("ended_at", _big),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("lost_answers", sa.Integer, nullable=False),
        sa.Column("passed", sa.Text, nullable=False),
        sa.Column("deaths", sa.Integer, nullable=False),
        sa.Column("instance", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.UniqueConstraint("client", "channel", "uid", name="messages_uid"),
        sqlite_with_rowid=False,
        sqlite_strict=True,
    )
    _partial("messages_due", "messages", ["queue", "state", "due_at"], "due_at IS NOT NULL")
    _partial("messages_expires_at", "messages", ["expires_at"], "due_at IS NOT NULL")
    op.create_index("messages_user", "messages", ["ext_user_id", "id"])
    troubled = "state <> 'queued' AND state <> 'sending' AND state <> 'sent'"
    _partial("messages_troubled", "messages", ["state", "id"], troubled)
    _partial("messages_ended_at", "messages", ["ended_at"], "ended_at IS NOT NULL")


def _create_contents() -> None:
    op.create_table(
        "contents",
        sa.Column("message_id", sa.Text, primary_key=True),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sqlite_strict=True,
    )


def _create_attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("message_id", sa.Text, primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("instance", sa.Text, nullable=False),
        sa.Column("choice", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("provider_id", sa.Text),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("started_at", _big, nullable=False),
        sa.Column("duration", sa.Integer, nullable=False),
        sa.Column("parts", sa.Integer, nullable=False),
        sa.Column("counted_parts", sa.Integer, nullable=False),
        sa.Column("not_gsm7", sa.Text, nullable=False),
        sa.Column("price", sa.Text, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sqlite_with_rowid=False,
        sqlite_strict=True,
    )
    _partial("attempts_provider_id", "attempts", ["instance", "provider_id"], "provider_id IS NOT NULL")


def _create_statuses() -> None:
    op.create_table(
        "statuses",
        sa.Column("seq", _big, primary_key=True, autoincrement=True),
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("recorded_at", _big, nullable=False),
        sa.Column("reporter", sa.Text, nullable=False),
        sa.Column("callback_state", sa.Text, nullable=False),
        sa.Column("due_at", _big),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("called_at", _big),
        sa.Column("http_status", sa.Integer, nullable=False),
        sa.Column("problem", sa.Text, nullable=False),
        sa.UniqueConstraint("message_id", "status", name="statuses_once"),
        sqlite_strict=True,
    )
    _partial(
        "statuses_due", "statuses", ["callback_state", "client", "due_at", "target"], "due_at IS NOT NULL"
    )
    troubled = "status <> 'accepted' AND status <> 'delivered' AND status <> 'opened'"
    _partial("statuses_troubled", "statuses", ["status", "message_id"], troubled)
    _partial("statuses_dead", "statuses", ["client", "target", "seq"], "callback_state = 'dead'")


def _create_counters() -> None:
    op.create_table(
        "counters",
        sa.Column("period", _big, primary_key=True),
        sa.Column("scope", sa.Text, primary_key=True),
        sa.Column("shard", sa.Text, primary_key=True),
        sa.Column("value", _big, nullable=False),
        sqlite_with_rowid=False,
        sqlite_strict=True,
    )


def _create_statistics() -> None:
    op.create_table(
        "statistics",
        sa.Column("hours", sa.Integer, primary_key=True),
        sa.Column("period", _big, primary_key=True),
        sa.Column("queue", sa.Integer, primary_key=True),
        sa.Column("country", sa.Text, primary_key=True),
        sa.Column("instance", sa.Text, primary_key=True),
        sa.Column("counted", sa.Text, primary_key=True),
        sa.Column("shard", sa.Text, primary_key=True),
        sa.Column("value", _big, nullable=False),
        sqlite_with_rowid=False,
        sqlite_strict=True,
    )
    _partial("statistics_shards", "statistics", ["period"], "shard <> ''")


def _create_refusals() -> None:
    op.create_table(
        "refusals",
        sa.Column("seq", _big, primary_key=True, autoincrement=True),
        sa.Column("refused_at", _big, nullable=False),
        *_texts("client", "channel", "uid", "ext_user_id"),
        sa.Column("code", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sqlite_strict=True,
    )


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    """Create an index over the rows for which the condition ``where`` holds."""
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
