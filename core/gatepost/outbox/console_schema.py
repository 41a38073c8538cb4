"""The tables of the console, in the same schema as the others. Times are milliseconds since the epoch."""

from sqlalchemy import BigInteger, Column, Integer, Table, Text

from gatepost.outbox.schema import metadata

_big = BigInteger().with_variant(Integer(), "sqlite")

console_users = Table(
    "console_users",
    metadata,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),
    # A JSON list; empty: all clients.
    Column("clients", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("changed_at", _big, nullable=False),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)

console_sessions = Table(
    "console_sessions",
    metadata,
    Column("token_hash", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("seen_at", _big, nullable=False),
    Column("ends_at", _big, nullable=False),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)
