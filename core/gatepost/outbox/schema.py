"""The tables. Times are milliseconds since the epoch, by the database's clock.

A message's row is small and is rewritten at every step. Its content is large and hardly ever changes, so it has a
table of its own, and is deleted as soon as no further try can need it. The indexes are in ``indexes``.
"""

from sqlalchemy import (
    REAL,
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

queues = Table(
    "queues",
    metadata,
    # Each combination of channel, route and client has a queue of its own, so that claims can be fair between them.
    # An empty route: the route of these messages is not decided yet, because it depends on the recipient.
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("channel", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("client", Text, nullable=False),
    UniqueConstraint("channel", "route", "client", name="queues_once"),
    sqlite_strict=True,
)

messages = Table(
    "messages",
    metadata,
    Column("id", Text, primary_key=True),
    Column("client", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("uid", Text, nullable=False),
    Column("queue", Integer, nullable=False),
    # The country of the recipient's number (ISO 3166-1), where it is known; part of what routing needs.
    Column("country", Text, nullable=False),
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
    # The instances of the route that took the message and did not deliver it, separated by spaces.
    Column("passed", Text, nullable=False),
    # How often the process died while it was sending this message.
    Column("deaths", Integer, nullable=False),
    # The instance that answered last, and why it did not take the message.
    Column("instance", Text, nullable=False),
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

attempts = Table(
    "attempts",
    metadata,
    Column("message_id", Text, primary_key=True),
    # The message's attempt, and the position of this try in it: an attempt tries one instance after the other.
    Column("attempt", Integer, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("instance", Text, nullable=False),
    # Why this instance was chosen, where the route had a choice.
    Column("choice", Text, nullable=False),
    # `sent`, `rejected`, `unavailable` or `uncertain`; on a route with `next_after` then what its provider reported:
    # `delivered`, `failed` or `rejected`.
    Column("outcome", Text, nullable=False),
    Column("provider_id", Text),
    Column("reason", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("started_at", _big, nullable=False),
    # Milliseconds.
    Column("duration", Integer, nullable=False),
    # What the provider says that it cost: 0 and empty where it does not. The price is a decimal number.
    Column("parts", Integer, nullable=False),
    # The gateway's own count where the provider took a text message and says none; else 0, as for what is not known.
    Column("counted_parts", Integer, nullable=False),
    # The first character that the GSM alphabet does not have, for which each part has fewer; empty without one.
    Column("not_gsm7", Text, nullable=False),
    Column("price", Text, nullable=False),
    Column("currency", Text, nullable=False),
    sqlite_with_rowid=False,
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
    # The instance that reported it; empty where it follows from the answer to a send, or the gateway decided it.
    Column("reporter", Text, nullable=False),
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
    # When the last call ended, the HTTP status of its answer (0: there was none), and why it failed.
    Column("called_at", _big),
    Column("http_status", Integer, nullable=False),
    Column("problem", Text, nullable=False),
    UniqueConstraint("message_id", "status", name="statuses_once"),
    sqlite_strict=True,
)

counters = Table(
    "counters",
    metadata,
    # The beginning of the period that is counted; 0 for a number that has none. It comes first, so that old periods
    # are found without reading all rows.
    Column("period", _big, primary_key=True),
    # What is counted, such as `email_per_day/smartico`.
    Column("scope", Text, primary_key=True),
    # Each process and lane adds to a row of its own, so that no transaction waits for another. The number is the sum.
    Column("shard", Text, primary_key=True),
    Column("value", _big, nullable=False),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)

# What `statistics` counts; kept longer than the messages.
statistics = Table(
    "statistics",
    metadata,
    # How many hours the row is for, 1 or 24, and the beginning of the first one.
    Column("hours", Integer, primary_key=True),
    Column("period", _big, primary_key=True),
    Column("queue", Integer, primary_key=True),
    Column("country", Text, primary_key=True),
    Column("instance", Text, primary_key=True),
    Column("counted", Text, primary_key=True),
    # Each lane of each process adds to rows of its own. What is added up later has an empty shard, and is both in a row
    # of the hour and in one of the day.
    Column("shard", Text, primary_key=True),
    Column("value", _big, nullable=False),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)

refusals = Table(
    "refusals",
    metadata,
    Column("seq", _big, primary_key=True, autoincrement=True),
    Column("refused_at", _big, nullable=False),
    Column("client", Text, nullable=False),
    Column("channel", Text, nullable=False),
    # Empty where the request did not say it; never an address or a number.
    Column("uid", Text, nullable=False),
    Column("ext_user_id", Text, nullable=False),
    Column("code", Integer, nullable=False),
    # The gateway's own text.
    Column("reason", Text, nullable=False),
    sqlite_strict=True,
)

pauses = Table(
    "pauses",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    # What is paused; an empty column matches everything.
    Column("client", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("plugin", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("created_at", _big, nullable=False),
    Column("ends_at", _big),
    UniqueConstraint("client", "channel", "route", "plugin", name="pauses_once"),
    sqlite_strict=True,
)

suppressions = Table(
    "suppressions",
    metadata,
    Column("client", Text, primary_key=True),
    Column("ext_user_id", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("created_at", _big, nullable=False),
    Column("ends_at", _big),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)

audit = Table(
    "audit",
    metadata,
    Column("seq", _big, primary_key=True, autoincrement=False),
    Column("recorded_at", _big, nullable=False),
    # Who: the user at the other end of the socket.
    Column("actor", Text, nullable=False),
    # What: the operation, and what it was applied to, as JSON.
    Column("operation", Text, nullable=False),
    Column("target", Text, nullable=False),
    # Why: the reason that the operator gave.
    Column("reason", Text, nullable=False),
    # See `audit_chain`.
    Column("hash", Text, nullable=False),
    sqlite_strict=True,
)

# For what one replica alone may do.
leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("ends_at", _big, nullable=False),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)

# What instances keep over a restart.
plugin_state = Table(
    "plugin_state",
    metadata,
    Column("instance", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)

# The next turn of each instance with a rate that several replicas share, in microseconds.
turns = Table(
    "turns",
    metadata,
    Column("instance", Text, primary_key=True),
    Column("next_at", _big, nullable=False),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)

# The shares of split routes that follow receipts, with what they were decided from. Names of routes are unique over both
# channels. Moments are minutes since the epoch.
shares = Table(
    "shares",
    metadata,
    Column("route", Text, primary_key=True),
    Column("country", Text, primary_key=True),
    Column("instance", Text, primary_key=True),
    # The part of its configured share that the instance has now, from above 0 to 1.
    Column("factor", REAL, nullable=False),
    Column("sent", Integer, nullable=False),
    Column("delivered", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    # What the next decision needs to know of the earlier ones; see `routing.balance.Share`.
    Column("worse_at", Integer, nullable=False),
    Column("wait", Integer, nullable=False),
    Column("increased", Integer, nullable=False),
    Column("measured_from", Integer, nullable=False),
    Column("decided", Integer, nullable=False),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)
