"""The table with the head of the audit log; the log itself is in ``schema``."""

from sqlalchemy import BigInteger, Column, Integer, Table, Text

from gatepost.outbox.schema import metadata

# One row: the newest entry, or 0 and GENESIS before the first one. Whoever appends locks it.
audit_head = Table(
    "audit_head",
    metadata,
    Column("seq", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=False),
    Column("hash", Text, nullable=False),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)
