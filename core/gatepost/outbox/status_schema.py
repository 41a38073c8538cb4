"""Further tables: what operators are shown and told of the gateways and of the store itself. Times are as in ``schema``."""

from sqlalchemy import BigInteger, Column, Integer, Table, Text

from gatepost.outbox.schema import metadata

_big = BigInteger().with_variant(Integer(), "sqlite")

# The gateways that run, and those that died lately.
replicas = Table(
    "replicas",
    metadata,
    Column("holder", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("started_at", _big, nullable=False),
    Column("seen_at", _big, nullable=False),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)

# The size of the store at the first sight of each day.
store_sizes = Table(
    "store_sizes",
    metadata,
    Column("day", _big, primary_key=True),
    Column("measured_at", _big, nullable=False),
    Column("bytes", _big, nullable=False),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)

# What people on call have been told, for each lease under which they are told it.
alert_states = Table(
    "alert_states",
    metadata,
    Column("scope", Text, primary_key=True),
    # JSON.
    Column("state", Text, nullable=False),
    # JSON: what the gateway on a host sees now.
    Column("problems", Text, nullable=False),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)
