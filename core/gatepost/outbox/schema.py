"""The tables. Times are milliseconds since the epoch, by the database's clock.

A row is small and is rewritten at every step, so the content, which is large and never changes, stands in
a table of its own and goes as soon as nobody will need it. What the claims run on stands in ``indexes``.
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

# On SQLite an INTEGER is as wide; it is the only one that counts up by itself, and that a STRICT table knows.
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
    # The reference of a preview's recipient; the address itself stands in the configuration only.
    Column("preview", Text, nullable=False),
    Column("callback_url", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("due_at", _big),
    Column("created_at", _big, nullable=False),
    Column("expires_at", _big, nullable=False),
    Column("ended_at", _big),
    # How often it was claimed; together with the holder this is the fence.
    Column("attempt", Integer, nullable=False),
    Column("holder", Text, nullable=False),
    # How often an answer was lost; it is sent again but once for that.
    Column("unanswered", Integer, nullable=False),
    # How often the process died while it had this message in hand.
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
    Column("attempt", Integer, nullable=False),
    Column("holder", Text, nullable=False),
    # Whose message it is, and `host:port` of its callback URL. Claims go client by client, and together the two
    # are what rests as a whole when calls keep failing.
    Column("client", Text, nullable=False),
    Column("target", Text, nullable=False),
    # What the last failed call met: an HTTP status or a kind of error.
    Column("problem", Text, nullable=False),
    UniqueConstraint("message_id", "status", name="statuses_once"),
    sqlite_strict=True,
)
