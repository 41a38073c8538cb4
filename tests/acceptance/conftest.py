"""A real gateway on real sockets, in this process; Smartico and the mailboxes are stand-ins."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from gatepost.app import load
from gatepost.server import serve

CONTACTS = """\
ext_user_id,email,phone,name
anna,anna@players.example,+447700900100,Anna
nomail,,+447700900100,No Mail
nophone,only@players.example,,No Phone
broken,not-an-address,not-a-number,Broken
reject,reject.me@players.example,+447700900100,Reject
bounce,bounce.me@players.example,+447700900100,Bounce
"""

CONFIG = """\
[server]
port = 0

[clients.brand]
authorization = ["the-secret"]
allow_ips = ["127.0.0.1"]
callback_api_key = "the-api-key"
callback_hosts = ["127.0.0.1"]
allow_private_callbacks = true
preview_recipients = ["support@brand.example"]
email_senders = ["@brand.example"]
sms_senders = ["Brand"]

[contacts]
sources = ["players"]

[routes]
email = ["box"]
sms = ["box"]

[plugins.players]
use = "csv"
path = "contacts.csv"

[plugins.box]
use = "sandbox"
folder = "box"
"""


class Gateway:
    """A running gateway and a client that speaks to it."""

    def __init__(self, url: str, folder: Path, http: aiohttp.ClientSession) -> None:
        self.url = url
        self.folder = folder
        self.http = http

    async def post(self, path: str, body: object, *, secret: str | None = "the-secret", **headers: str):
        """POST to the contract; asserts what every answer of it has, and returns the JSON."""
        if secret is not None:
            headers["Authorization"] = secret
        kind = {"data": body} if isinstance(body, bytes) else {"json": body}
        async with self.http.post(self.url + path, headers=headers, **kind) as response:
            assert response.status == 200
            assert response.headers["Content-Type"] == "application/json"
            return await response.json()

    async def email(self, uid: str = "uid-1", **fields: object):
        return await self.post("/email", email(uid, **fields))

    async def sms(self, uid: str = "uid-1", **fields: object):
        return await self.post("/sms", sms(uid, **fields))


def email(uid: str = "uid-1", **fields: object) -> dict[str, object]:
    """A good request; a field given as None is left out."""
    made = {
        "ext_user_id": "anna",
        "from_email_address": "Brand <noreply@brand.example>",
        "subject": "Hello",
        "body": "<p>Hello <b>Anna</b></p>",
        "email_uid": uid,
        **fields,
    }
    return {name: value for name, value in made.items() if value is not None}


def sms(uid: str = "uid-1", **fields: object) -> dict[str, object]:
    made = {"ext_user_id": "anna", "body": "Hello", "im_uid": uid, **fields}
    return {name: value for name, value in made.items() if value is not None}


@asynccontextmanager
async def running(folder: Path, config: str = CONFIG) -> AsyncIterator[Gateway]:
    """A gateway on this configuration until the block ends, then stopped as SIGTERM does."""
    folder.mkdir(exist_ok=True)
    if not (folder / "contacts.csv").exists():
        (folder / "contacts.csv").write_text(CONTACTS)
    (folder / "gatepost.toml").write_text(config)
    read, made = load(folder / "gatepost.toml")
    listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(read, made, listening=listening.set_result))
    await asyncio.wait({task, listening}, return_when=asyncio.FIRST_COMPLETED)
    if not listening.done():
        await task
    try:
        async with aiohttp.ClientSession() as http:
            yield Gateway(listening.result(), folder, http)
    finally:
        if not task.done():
            os.kill(os.getpid(), signal.SIGTERM)
        assert await task == 0


@pytest.fixture
async def gateway(tmp_path):
    async with running(tmp_path) as gateway:
        yield gateway


@pytest.fixture
def start():
    return running


@pytest.fixture
def config():
    return CONFIG


@pytest.fixture
def make():
    """Good requests, by channel."""
    return lambda channel, **fields: (email if channel == "email" else sms)(**fields)
