"""The tables. Times are milliseconds since the epoch, by the database's clock.

A message's row is small and is rewritten at every step. Its content is large and hardly ever changes, so it has a
table of its own, and is deleted as soon as no further try can need it. The indexes are in ``indexes``.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

# On SQLite an INTEGER is as wide. Only an INTEGER can be an autoincrement key there, and STRICT tables know no BIGINT.
_big = BigInteger().with_variant(Integer(), "sqlite")

messages = Table(
    "messages",
    metadata,
    Column("id", Text, primary_key=True),
    Column("client", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("uid", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("ext_user_id", Text, nullable=False),
    # The reference of a preview's recipient; the address itself is in the configuration only.
    Column("preview", Text, nullable=False),
    Column("callback_url", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("due_at", _big),
    Column("created_at", _big, nullable=False),
    Column("expires_at", _big, nullable=False),
    Column("ended_at", _big),
    # How often it was claimed; together with the holder this is the fence.
    Column("attempt", Integer, nullable=False),
    # The process that claimed it last.
    Column("holder", Text, nullable=False),
    # How often a provider's answer was lost; for that reason it is queued again only once.
    Column("lost_answers", Integer, nullable=False),
    # How often the process died while it was sending this message.
    Column("deaths", Integer, nullable=False),
    Column("instance", Text, nullable=False),
    Column("provider_id", Text),
    Column("reason", Text, nullable=False),
    Column("code", Text, nullable=False),
    UniqueConstraint("client", "channel", "uid", name="messages_uid"),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)

contents = Table(
    "contents",
    metadata,
    Column("message_id", Text, primary_key=True),
    Column("content", LargeBinary, nullable=False),
    sqlite_strict=True,
)

statuses = Table(
    "statuses",
    metadata,
    # The order in which statuses became known.
    Column("seq", _big, primary_key=True, autoincrement=True),
    Column("message_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("recorded_at", _big, nullable=False),
    Column("callback_state", Text, nullable=False),
    Column("due_at", _big),
    # How often its callback was claimed; together with the holder this is the fence.
    Column("attempt", Integer, nullable=False),
    # The process that claimed its callback last.
    Column("holder", Text, nullable=False),
    # The message's client, and `host:port` of its callback URL. Claims are made for one client each, and callbacks
    # of one client to one target are paused together when they keep failing.
    Column("client", Text, nullable=False),
    Column("target", Text, nullable=False),
    # Why the last callback failed: an HTTP status or a kind of error.
    Column("problem", Text, nullable=False),
    UniqueConstraint("message_id", "status", name="statuses_once"),
    sqlite_strict=True,
)
