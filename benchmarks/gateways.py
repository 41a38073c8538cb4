"""Configurations of the gateway under test, and queues made full before it starts."""

import asyncio
import json
from pathlib import Path

from driver import USERS, email

from gatepost import contract
from gatepost.model import Channel, Secret
from gatepost.outbox import NewMessage, Policy, new_id, open_outbox

CONFIG = """\
[server]
port = 0

[logs]
level = "info"
format = "json"

[store]
url = {store}

[clients.bench]
authorization = ["letmein"]
allow_ips = ["127.0.0.1"]
callback_api_key = "key"
callback_hosts = ["127.0.0.1"]
allow_private_callbacks = true

[contacts]
sources = ["players"]

[routes]
email = [{route}]

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


def configure(folder: Path, plugins: str, store: str = "sqlite:///gatepost.db") -> Path:
    """Write a configuration whose only provider is the instance ``out``."""
    rows = [f"u{user},user{user}@players.example,+4477009{user:05d}" for user in range(USERS)]
    (folder / "contacts.csv").write_text("\n".join(["ext_user_id,email,phone", *rows, ""]))
    path = folder / "gatepost.toml"
    path.write_text(CONFIG.format(store=json.dumps(store), route='"out"', plugins=plugins))
    return path


def fill(folder: Path, count: int, store: str = "sqlite:///gatepost.db") -> None:
    """Put so many emails into the store, as acceptance would have done."""
    content = contract.content(contract.decode(Channel.EMAIL, email("fill", 0)))

    async def put() -> None:
        async with open_outbox(Secret(store), folder, Policy()) as outbox:
            numbers = iter(range(count))

            async def one_by_one() -> None:
                for number in numbers:
                    await outbox.put(
                        NewMessage(
                            id=new_id(),
                            client="bench",
                            channel=Channel.EMAIL,
                            uid=f"fill-{number}",
                            fingerprint=number.to_bytes(32, "big"),
                            ext_user_id=f"u{number % USERS}",
                            preview="",
                            callback_url="",
                            content=content,
                            lifetime=86_400.0,
                        )
                    )

            await asyncio.gather(*(one_by_one() for _ in range(256)))

    asyncio.run(put())
