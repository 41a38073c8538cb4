"""The tables for users who were forgotten; the others are in ``schema``."""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Table, Text

from gatepost.outbox.schema import metadata

# Users who were forgotten, by a keyed hash of their id: they must not be contacted.
forgotten_users = Table(
    "forgotten_users",
    metadata,
    Column("user_hash", Text, primary_key=True),
    Column("client", Text, primary_key=True),
    Column("actor", Text, nullable=False),
    Column("created_at", BigInteger().with_variant(Integer(), "sqlite"), nullable=False),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)

# Messages of forgotten users that are being sent, or whose callback URL is still needed.
erasures = Table(
    "erasures",
    metadata,
    Column("message_id", Text, primary_key=True),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)

# Keys that the store has made for itself.
keys = Table(
    "keys",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)
