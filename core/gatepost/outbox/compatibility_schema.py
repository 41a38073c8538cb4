"""The table that says which versions of Gatepost can use the store; the others are in ``schema``."""

from sqlalchemy import Column, Table, Text

from gatepost.outbox.schema import metadata

# One row: the oldest revision whose Gatepost can use these tables. A migration that adds something leaves it alone.
compatibility = Table(
    "compatibility",
    metadata,
    Column("oldest_revision", Text, primary_key=True),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)
