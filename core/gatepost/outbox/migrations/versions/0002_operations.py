"""The tables for operators, for replicas and for plugins."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables for what operators, replicas and plugins keep."""
    _create_console()
    _create_operators_tables()
    _create_forgetting_tables()
    _create_replicas_tables()
    _create_shares()
    _create_status_tables()
    _create_alert_states()


def _create_console() -> None:
    op.create_table(
        "console_users",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("clients", sa.Text, nullable=False),
        sa.Column("password_hash", sa.Text, nullable=False),
        sa.Column("changed_at", _big, nullable=False),
        sqlite_with_rowid=False,
        sqlite_strict=True,
    )
    op.create_table(
        "console_sessions",
        sa.Column("token_hash", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("seen_at", _big, nullable=False),
        sa.Column("ends_at", _big, nullable=False),
        sqlite_with_rowid=False,
        sqlite_strict=True,
    )


def _create_operators_tables() -> None:
    op.create_table(
        "pauses",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        *_texts("client", "channel", "route", "plugin", "reason", "actor"),
        sa.Column("created_at", _big, nullable=False),
        sa.Column("ends_at", _big),
        sa.UniqueConstraint("client", "channel", "route", "plugin", name="pauses_once"),
        sqlite_strict=True,
    )
    op.create_table(
        "suppressions",
        sa.Column("client", sa.Text, primary_key=True),
        sa.Column("ext_user_id", sa.Text, primary_key=True),
        *_texts("reason", "actor"),
        sa.Column("created_at", _big, nullable=False),
        sa.Column("ends_at", _big),
        sqlite_with_rowid=False,
        sqlite_strict=True,
    )
    op.create_table(
        "audit",
        sa.Column("seq", _big, primary_key=True, autoincrement=False),
        sa.Column("recorded_at", _big, nullable=False),
        *_texts("actor", "operation", "target", "reason", "hash"),
        sqlite_strict=True,
    )
    head = op.create_table(
        "audit_head",
        sa.Column("seq", _big, primary_key=True, autoincrement=False),
        *_texts("hash"),
        sqlite_with_rowid=False,
        sqlite_strict=True,
    )
    op.bulk_insert(head, [{"seq": 0, "hash": "0" * 64}])


def _create_forgetting_tables() -> None:
    op.create_table(
        "forgotten_users",
        sa.Column("user_hash", sa.Text, primary_key=True),
        sa.Column("client", sa.Text, primary_key=True),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("created_at", _big, nullable=False),
        sqlite_with_rowid=False,
        sqlite_strict=True,
    )
    op.create_table(
        "erasures",
        sa.Column("message_id", sa.Text, primary_key=True),
        sqlite_with_rowid=False,
        sqlite_strict=True,
    )
    keys = op.create_table(
        "keys",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
        sqlite_strict=True,
    )
    # Here, because a migration runs once for a store, whatever number of replicas starts.
    op.bulk_insert(keys, [{"name": "user_hash", "value": secrets.token_bytes(32)}])


def _create_replicas_tables() -> None:
    op.create_table(
        "plugin_state",
        sa.Column("instance", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sqlite_with_rowid=False,
        sqlite_strict=True,
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("ends_at", _big, nullable=False),
        sqlite_with_rowid=False,
        sqlite_strict=True,
    )
    op.create_table(
        "turns",
        sa.Column("instance", sa.Text, primary_key=True),
        sa.Column("next_at", _big, nullable=False),
        sqlite_with_rowid=False,
        sqlite_strict=True,
    )


def _create_shares() -> None:
    op.create_table(
        "shares",
        sa.Column("route", sa.Text, primary_key=True),
        sa.Column("country", sa.Text, primary_key=True),
        sa.Column("instance", sa.Text, primary_key=True),
        sa.Column("factor", sa.REAL, nullable=False),
        sa.Column("sent", sa.Integer, nullable=False),
        sa.Column("delivered", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("worse_at", sa.Integer, nullable=False),
        sa.Column("wait", sa.Integer, nullable=False),
        sa.Column("increased", sa.Integer, nullable=False),
        sa.Column("measured_from", sa.Integer, nullable=False),
        sa.Column("decided", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
        sqlite_strict=True,
    )


def _create_status_tables() -> None:
    op.create_table(
        "replicas",
        sa.Column("holder", sa.Text, primary_key=True),
        *_texts("host", "version"),
        sa.Column("started_at", _big, nullable=False),
        sa.Column("seen_at", _big, nullable=False),
        sqlite_with_rowid=False,
        sqlite_strict=True,
    )
    op.create_table(
        "store_sizes",
        sa.Column("day", _big, primary_key=True),
        sa.Column("measured_at", _big, nullable=False),
        sa.Column("bytes", _big, nullable=False),
        sqlite_with_rowid=False,
        sqlite_strict=True,
    )


def _create_alert_states() -> None:
    op.create_table(
        "alert_states",
        sa.Column("scope", sa.Text, primary_key=True),
        *_texts("state", "problems"),
        sqlite_with_rowid=False,
        sqlite_strict=True,
    )


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]
