"""A real gateway on real sockets, in this process; Smartico and the mailboxes are stand-ins."""

import asyncio
import functools
import json
import os
import re
import signal
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default as modern
from pathlib import Path
from typing import Any

import aiohttp
import aiosmtpd.smtp
import pytest
import trustme
from prometheus_client.parser import text_string_to_metric_families

from gatepost.app import load
from gatepost.plugin_host import discovery
from gatepost.server.process import serve
from gatepost.testing.emulator import Emulator
from gatepost.testing.process import GatewayProcess
from gatepost.testing.serving import stop
from gatepost.testing.smartico import Smartico
from gatepost_sendgrid.testing import SendGridEmulator
from gatepost_vonage.testing import VonageEmulator

PATIENCE = 60.0
"""Seconds that a test waits for what must come; a busy machine takes its time."""

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

    async def get(self, path: str) -> tuple[int, Any]:
        """The HTTP status, and the body where it is JSON."""
        async with self.http.get(self.url + path) as response:
            is_json = response.content_type == "application/json"
            return response.status, await response.json() if is_json else None

    async def metrics(self) -> dict[tuple[str, ...], float]:
        """Every figure by its name and its labels' values, these in the order of the labels' names."""
        async with self.http.get(self.url + "/metrics") as response:
            assert response.status == 200
            text = await response.text()
        return {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    async def settled(self) -> None:
        """Wait until every message has ended and every status was told or given up."""

        async def nothing_waits() -> bool:
            figures = await self.metrics()
            waiting = "gatepost_queue_messages", "gatepost_callbacks_waiting"
            return not any(figure for (name, *_), figure in figures.items() if name in waiting)

        await until(nothing_waits)

    async def waits(self, channel: str, state: str) -> None:
        """Wait until a message of this channel is in this state."""
        figure = "gatepost_queue_messages", channel, state

        async def there_is_one() -> bool:
            return bool((await self.metrics()).get(figure))

        await until(there_is_one)


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


def _written(folder: Path, config: str) -> Path:
    if not (folder / "contacts.csv").exists():
        (folder / "contacts.csv").write_text(CONTACTS)
    path = folder / "gatepost.toml"
    path.write_text(config)
    return path


@asynccontextmanager
async def running(folder: Path, config: str = CONFIG, *, code: int = 0) -> AsyncIterator[Gateway]:
    """A gateway on this configuration until the block ends, then stopped as SIGTERM does.

    ``code`` is what it must end with.
    """
    path = _written(folder, config)
    settings, instances = load(path)
    listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(settings, instances, on_listening=listening.set_result))
    await asyncio.wait({task, listening}, return_when=asyncio.FIRST_COMPLETED)
    if not listening.done():
        await task
    try:
        async with aiohttp.ClientSession() as http:
            yield Gateway(listening.result(), folder, http)
    finally:
        if not task.done():
            os.kill(os.getpid(), signal.SIGTERM)
        assert await task == code


async def until(condition: Callable[[], Any]) -> None:
    """Wait until ``condition``, which may be async, holds."""
    async with asyncio.timeout(PATIENCE):
        while True:
            holds = condition()
            if await holds if asyncio.iscoroutine(holds) else holds:
                return
            await asyncio.sleep(0.02)


Tables = dict[str, dict[str, Any]]
"""A gatepost.toml, by its tables' names."""


def toml(tables: Mapping[str, Mapping[str, object]]) -> str:
    """The tables as TOML; JSON writes texts, numbers and lists in the same way."""
    return "\n".join(
        "\n".join([f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items()), ""])
        for name, table in tables.items()
    )


class Deployment:
    """Smartico on one side, providers on the other, and room for a gateway between them.

    A fixture that makes a provider adds the provider's table and nothing to the routes.
    """

    def __init__(self, folder: Path, crm: Smartico) -> None:
        self.folder = folder
        self.crm = crm
        self.contacts = CONTACTS
        self.emulators: dict[str, Emulator] = {}
        self.tables: Tables = {
            "server": {"port": 0},
            "clients.brand": {
                "authorization": [crm.authorization],
                "allow_ips": ["127.0.0.1"],
                "callback_api_key": crm.api_key,
                "callback_hosts": ["127.0.0.1"],
                "allow_private_callbacks": True,
            },
            "contacts": {"sources": ["players"]},
            "delivery": {},
            "routes": {},
            "logs": {"level": "debug", "format": "json"},
            "plugins.players": {"use": "csv", "path": "contacts.csv", "check_every": 0.02},
        }

    def write(self) -> Path:
        """Put the configuration and the contacts into the folder; returns the configuration's path."""
        (self.folder / "contacts.csv").write_text(self.contacts)
        path = self.folder / "gatepost.toml"
        path.write_text(toml(self.tables))
        return path

    def found_at(self, url: str) -> None:
        """Tell everybody where the gateway listens."""
        self.crm.gateway_url = url
        for name, emulator in self.emulators.items():
            emulator.webhook_url = f"{url}/webhooks/{name}"

    @asynccontextmanager
    async def running(self, *, code: int = 0, **routes: list[str]) -> AsyncIterator[Gateway]:
        """A gateway on this configuration until the block ends, then stopped; it ends with ``code``."""
        self.tables["routes"] |= routes
        self.write()
        async with running(self.folder, toml(self.tables), code=code) as gateway:
            self.found_at(gateway.url)
            yield gateway

    async def email(self, user: str = "anna", **fields: str | None) -> str:
        """Smartico sends an email and it is accepted; returns its id."""
        answer = await self.crm.send_email(**{"ext_user_id": user, **fields})
        assert answer["error_code"] == 0, answer
        return answer["ext_message_id"]

    async def sms(self, user: str = "anna", **fields: str | None) -> str:
        """The same with a text message."""
        answer = await self.crm.send_sms(**{"ext_user_id": user, "from_number": "Brand", **fields})
        assert answer["error_code"] == 0, answer
        return answer["ext_message_id"]

    async def hears(self, message: str, *statuses: str) -> None:
        """Wait for the last of these statuses, and see that Smartico heard exactly these, in this order."""
        await self.crm.wait_for(message, statuses[-1], timeout=PATIENCE)
        assert self.crm.statuses_of(message) == list(statuses)
        assert not self.crm.violations


@pytest.fixture
async def begin(deployment):
    """Starts a gateway in a process of its own, and again after it has ended; nothing is left running."""
    processes: list[GatewayProcess] = []
    async with aiohttp.ClientSession() as http:

        async def start(**routes: list[str]) -> tuple[GatewayProcess, Gateway]:
            deployment.tables["routes"] |= routes
            process = GatewayProcess(deployment.write())
            processes.append(process)
            await asyncio.to_thread(process.start)
            deployment.found_at(process.url)
            return process, Gateway(process.url, deployment.folder, http)

        yield start
        for process in processes:
            process.kill()


@pytest.fixture(scope="module", autouse=True)
def plugins_looked_up_once():
    """Reading the metadata of everything that is installed is half of a start's work."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(discovery, "load", functools.cache(discovery.load))
        yield


@pytest.fixture
def brisk(monkeypatch):
    """A gateway in this process does at once for what it otherwise takes seconds and minutes."""
    monkeypatch.setattr("gatepost.upkeep.housekeeping.SWEEP_EVERY", 0.05)
    monkeypatch.setattr("gatepost.outbox.polling.POLL_INTERVAL", 0.05)
    monkeypatch.setattr("gatepost.delivery.attempt.retry_delay", lambda _attempt: 0.05)
    monkeypatch.setattr("gatepost.callbacks.attempt.RETRY_DELAYS", (0.05,) * 7)
    monkeypatch.setattr("gatepost.throttle.FIRST_REST", 0.05)
    monkeypatch.setattr("gatepost.throttle.MAX_REST", 0.05)


@pytest.fixture
async def deployment(tmp_path, brisk):
    async with Smartico(api_key="the-api-key", authorization="the-secret") as crm:
        yield Deployment(tmp_path, crm)


@pytest.fixture
async def deadlines_pass(deployment, set_ahead):
    """Whenever a provider withholds an answer, the loop's clock jumps past the deadline for it."""

    async def hurry():
        seen = 0
        while True:
            withheld = sum(emulator.withheld_answers for emulator in deployment.emulators.values())
            if withheld > seen:
                set_ahead(10.0)
            seen = withheld
            await asyncio.sleep(0.01)

    hurrying = asyncio.create_task(hurry())
    yield
    hurrying.cancel()


@pytest.fixture
async def sendgrid(deployment):
    """SendGrid, as the instance ``sendgrid-main``."""
    async with SendGridEmulator() as emulator:
        deployment.emulators["sendgrid-main"] = emulator
        deployment.tables["plugins.sendgrid-main"] = {
            "use": "sendgrid",
            "api_key": emulator.api_key,
            "base_url": emulator.base_url,
            "webhook_public_key": emulator.public_key,
        }
        yield emulator


@pytest.fixture
async def vonage(deployment):
    """Vonage, as the instance ``vonage-eu``."""
    async with VonageEmulator() as emulator:
        deployment.emulators["vonage-eu"] = emulator
        deployment.tables["plugins.vonage-eu"] = {
            "use": "vonage",
            "application_id": emulator.application_id,
            "private_key": emulator.private_key,
            "signature_secret": emulator.signature_secret,
            "default_sender": "Brand",
            "base_url": emulator.base_url,
        }
        yield emulator


class Mailboxes:
    """What a mail server of somebody else's making took, and how it was spoken to."""

    def __init__(self) -> None:
        self.envelopes: list[aiosmtpd.smtp.Envelope] = []
        self.sessions: list[tuple[bool, bool]] = []
        """For each mail whether the sender had signed in, and whether the line was encrypted."""

    async def handle_DATA(self, server, session, envelope):  # noqa: N802  aiosmtpd's name
        self.envelopes.append(envelope)
        encrypted = server.transport.get_extra_info("sslcontext") is not None
        self.sessions.append((session.authenticated, encrypted))
        return "250 2.0.0 ok"

    @property
    def mails(self) -> list[EmailMessage]:
        """The mails, taken apart."""
        parser = BytesParser(policy=modern)
        return [parser.parsebytes(envelope.content) for envelope in self.envelopes]

    def sends(self, message_id: str) -> int:
        """How many mails with this id of ours arrived."""
        return sum(message_id in mail["Message-ID"] for mail in self.mails)


@pytest.fixture(scope="session")
def authority():
    return trustme.CA()


@pytest.fixture
async def mailboxes(deployment, authority):
    """A mail server that wants STARTTLS and a login, as the instance ``relay``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(deployment.folder / "ca.pem")
    made = Mailboxes()

    def sign_in(_server, _session, _envelope, _mechanism, data):
        good = (data.login, data.password) == (b"gatepost", b"relay-password")
        return aiosmtpd.smtp.AuthResult(success=good, handled=False)

    sessions: list[aiosmtpd.smtp.SMTP] = []

    def protocol() -> aiosmtpd.smtp.SMTP:
        session = aiosmtpd.smtp.SMTP(
            made,
            hostname="relay.example",
            enable_SMTPUTF8=True,
            tls_context=context,
            require_starttls=True,
            authenticator=sign_in,
            auth_required=True,
            loop=asyncio.get_running_loop(),
        )
        sessions.append(session)
        return session

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    async with server:
        deployment.tables["plugins.relay"] = {
            "use": "smtp",
            "host": "localhost",
            "port": server.sockets[0].getsockname()[1],
            "security": "starttls",
            "ca_file": "ca.pem",
            "username": "gatepost",
            "password": "relay-password",
        }
        yield made
        await stop(server)
    # The server itself ends none of those that it had.
    for session in sessions:
        if session.transport:
            session.transport.abort()
    await asyncio.sleep(0)


@pytest.fixture
def wait_until():
    return until


@pytest.fixture
async def gateway(tmp_path):
    async with running(tmp_path) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def start():
    return running


@pytest.fixture
def config():
    return CONFIG


@pytest.fixture
def make(request):
    """Good requests, by channel; the uid is the test's own."""
    return lambda channel, **fields: (email if channel == "email" else sms)(request.node.name, **fields)


@pytest.fixture
def raw():
    """Sends these very bytes to a server, and returns what the contract's answer to them says."""
    return _raw


async def _raw(url: str, request: bytes) -> dict[str, object]:
    """What a server answers to these very bytes."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        length = int(re.search(rb"content-length: (\d+)", head.lower()).group(1))
        return json.loads(await reader.readexactly(length))
    finally:
        writer.close()
        await writer.wait_closed()
