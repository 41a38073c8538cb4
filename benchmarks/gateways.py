"""Configurations of the gateways under test, and messages that are queued before a start."""

import asyncio
import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
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

[clients.bench]
authorization = ["letmein"]
allow_ips = ["127.0.0.1"]
callback_api_key = "key"
callback_hosts = ["127.0.0.1", "localhost"]
allow_private_callbacks = true

[contacts]
sources = ["players"]

[routes]
email = ["out"]

[plugins.players]
use = "csv"
path = "contacts.csv"

{plugins}
"""

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


ALL_PLUGINS = (
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
"""All plugins of this repository, including the csv source; ``key`` is the path of an RSA key."""


def configure(folder: Path, plugins: str, store: str = SQLITE, *, port: int = 0, server: str = "") -> Path:
    """Write a configuration whose route is the instance ``out``, and return its path.

    ``plugins`` are the tables of its instances, ``server`` further lines of the table ``[server]``.
    """
    rows = [f"u{user},user{user}@players.example,+4477009{user:05d}" for user in range(USERS)]
    (folder / "contacts.csv").write_text("\n".join(["ext_user_id,email,phone", *rows, ""]))
    path = folder / "gatepost.toml"
    path.write_text(CONFIG.format(store=json.dumps(store), plugins=plugins, port=port, server=server))
    return path


QUEUE = 1
"""The number of the queue of all messages."""


def fill_queue(
    folder: Path, count: int, store: str = SQLITE, *, content: bytes | None = None, callback_url: str = ""
) -> None:
    """Put ``count`` accepted emails into the store, but faster than acceptance would."""
    if content is None:
        content = requests.stored_content(requests.decode(Channel.EMAIL, email("fill", 0)))

    def add_queue(connection: Connection) -> None:
        channel = Channel.EMAIL.value
        connection.execute(
            insert(queues), {"id": QUEUE, "channel": channel, "route": channel, "client": "bench"}
        )

    def put(rows: list[dict[str, object]], connection: Connection) -> None:
        connection.execute(insert(messages), rows)
        connection.execute(insert(contents), [{"message_id": r["id"], "content": content} for r in rows])

    async def put_all() -> None:
        url = Secret(store)
        async with open_outbox(url, folder, Policy()):
            pass  # opening the outbox creates the tables
        path = sqlite_path(url, folder)
        database = PostgresDatabase(url) if path is None else SqliteDatabase(path)
        await database.transact(add_queue)
        for rows in _row_batches(count, callback_url):
            await database.transact(partial(put, rows))
        await database.close()

    asyncio.run(put_all())


def _row_batches(count: int, callback_url: str) -> Iterator[list[dict[str, object]]]:
    """Yield rows of queued messages, as the outbox inserts them, a thousand at a time."""
    now = int(time.time() * 1000)
    for begin in range(0, count, 1000):
        yield [
            {
                "id": new_id(),
                "client": "bench",
                "channel": Channel.EMAIL.value,
                # Clients send uids in no order, so that their index is written in random places.
                "uid": str(uuid4()),
                "queue": QUEUE,
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
