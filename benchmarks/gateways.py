"""Configurations of the gateways under test, and messages that are queued before a start."""

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from driver import USERS, email
from sqlalchemy import Connection, insert

from gatepost.intake import requests
from gatepost.model import Channel, Secret
from gatepost.outbox import Policy, new_id, open_outbox
from gatepost.outbox.postgresql import PostgresDatabase
from gatepost.outbox.schema import contents, messages, queues
from gatepost.outbox.sqlite import SqliteDatabase
from gatepost.outbox.states import State
from gatepost.outbox.store_url import sqlite_path

SQLITE = "sqlite:///gatepost.db"

CONFIG = """\
[server]
port = {port}
{server}

[logs]
level = "info"
format = "json"

[store]
url = {store}

{clients}
[contacts]
sources = ["players"]
shared = true

{routes}

[plugins.players]
use = "csv"
path = "contacts.csv"

{plugins}
"""

CLIENT = """\
[clients.{name}]
authorization = ["{secret}"]
allow_ips = ["127.0.0.1"]
callback_api_key = "key"
callback_hosts = ["127.0.0.1", "localhost"]
allow_private_callbacks = true
{caps}
"""

LIST = """\
[routes]
email = ["out"]
"""


class Senders(NamedTuple):
    """The clients of a configuration and its routes, and where the queued messages are."""

    clients: Sequence[str]
    routes: str
    queues: Sequence[tuple[str, str]]
    """A route and a client each; the queued messages are spread evenly."""
    caps: str = ""
    """Lines that each client has as well."""


ONE_CLIENT = Senders(["bench"], LIST, [("email", "bench")])
"""One client and a list of instances."""


MAX_MESSAGES = 1_000_000
"""More than a run sends, so that caps count and stop nothing."""

CAPS = f"""\
email_per_day = {MAX_MESSAGES}
per_user_per_day = {MAX_MESSAGES}
max_queued = {MAX_MESSAGES}
"""


def many_clients(clients: int = 10, rules: int = 30, *, capped: bool = False) -> Senders:
    """Return several clients and rules; only the last rule takes what the driver sends."""
    names = ["bench", *(f"brand{number}" for number in range(1, clients))]
    tables = [
        f'[[routes.email]]\nname = "rule-{number}"\nclients = ["{names[number % clients]}"]\n'
        f'senders = ["@news{number}.example"]\ndomains = ["*.of{number}.example"]\nuse = ["out"]\n'
        for number in range(rules - 1)
    ]
    last = f'[[routes.email]]\nname = "others"\nuse = ["out"]\nper_day = {MAX_MESSAGES if capped else 0}\n'
    queues = [("others", name) for name in names]
    return Senders(names, "\n".join([*tables, last]), queues, CAPS if capped else "")


SMTP = """\
[plugins.out]
use = "smtp"
host = "127.0.0.1"
port = {port}
security = "none"
connections = {connections}
concurrency = {connections}
"""

SENDGRID = """\
[plugins.out]
use = "sendgrid"
api_key = "SG.bench"
base_url = "http://127.0.0.1:{port}"
concurrency = {connections}
"""


FIVE_PLUGINS = (
    SMTP
    + """
[plugins.sendgrid]
use = "sendgrid"
api_key = "SG.bench"

[plugins.vonage]
use = "vonage"
application_id = "bench"
private_key = "file:{key}"

[plugins.sandbox]
use = "sandbox"
folder = "mailbox"
"""
)
"""Together with the csv source; ``key`` is the path of an RSA key."""


def configure(
    folder: Path,
    plugins: str,
    store: str = SQLITE,
    *,
    port: int = 0,
    server: str = "",
    senders: Senders = ONE_CLIENT,
) -> Path:
    """Write a configuration whose routes use the instance ``out``, and return its path.

    ``plugins`` are the tables of its instances, ``server`` further lines of the table ``[server]``.
    """
    rows = [f"u{user},user{user}@players.example,+4477009{user:05d}" for user in range(USERS)]
    (folder / "contacts.csv").write_text("\n".join(["ext_user_id,email,phone", *rows, ""]))
    path = folder / "gatepost.toml"
    clients = [
        CLIENT.format(
            name=name, secret="letmein" if name == "bench" else f"secret of {name}", caps=senders.caps
        )
        for name in senders.clients
    ]
    values = {"clients": "\n".join(clients), "routes": senders.routes, "plugins": plugins, "server": server}
    path.write_text(CONFIG.format(store=json.dumps(store), port=port, **values))
    return path


def fill_queue(
    folder: Path,
    count: int,
    store: str = SQLITE,
    *,
    content: bytes | None = None,
    callback_url: str = "",
    senders: Senders = ONE_CLIENT,
) -> None:
    """Put ``count`` accepted emails into the store, but faster than acceptance would."""
    if content is None:
        content = requests.stored_content(requests.decode(Channel.EMAIL, email("fill", 0)))

    def add_queues(connection: Connection) -> None:
        channel = Channel.EMAIL.value
        rows = [
            {"id": number, "channel": channel, "route": route, "client": client}
            for number, (route, client) in enumerate(senders.queues, 1)
        ]
        connection.execute(insert(queues), rows)

    def put(rows: list[dict[str, object]], connection: Connection) -> None:
        connection.execute(insert(messages), rows)
        connection.execute(insert(contents), [{"message_id": r["id"], "content": content} for r in rows])

    async def put_all() -> None:
        url = Secret(store)
        async with open_outbox(url, folder, Policy()):
            pass  # opening the outbox creates the tables
        path = sqlite_path(url, folder)
        database = PostgresDatabase(url) if path is None else SqliteDatabase(path)
        await database.transact(add_queues)
        for rows in _row_batches(count, callback_url, senders):
            await database.transact(partial(put, rows))
        await database.close()

    asyncio.run(put_all())


def _row_batches(count: int, callback_url: str, senders: Senders) -> Iterator[list[dict[str, object]]]:
    """Yield rows of queued messages, as the outbox inserts them, a thousand at a time."""
    now = int(time.time() * 1000)
    for begin in range(0, count, 1000):
        yield [
            {
                "id": new_id(),
                "client": senders.queues[number % len(senders.queues)][1],
                "channel": Channel.EMAIL.value,
                # Clients send uids in no order, so that their index is written in random places.
                "uid": str(uuid4()),
                "queue": 1 + number % len(senders.queues),
                "country": "",
                "fingerprint": number.to_bytes(32, "big"),
                "ext_user_id": f"u{number % USERS}",
                "preview": "",
                "callback_url": callback_url,
                "state": State.QUEUED.value,
                "due_at": now,
                "created_at": now,
                "expires_at": now + 86_400_000,
                "attempt": 0,
                "holder": "",
                "lost_answers": 0,
                "passed": "",
                "deaths": 0,
                "instance": "",
                "reason": "",
                "code": "",
            }
            for number in range(begin, min(begin + 1000, count))
        ]
