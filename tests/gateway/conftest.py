"""A real gateway on real sockets in this process, with emulators of Smartico and the providers."""

import asyncio
import functools
import json
import os
import re
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default as modern
from pathlib import Path
from typing import Any

import aiohttp
import aiosmtpd.smtp
import pytest
import structlog
import trustme
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from gatepost.app import load
from gatepost.cli import main
from gatepost.plugin_host import discovery
from gatepost.server.process import serve
from gatepost.testing.emulator import Emulator
from gatepost.testing.process import GatewayProcess
from gatepost.testing.serving import stop
from gatepost.testing.smartico import Smartico
from gatepost_sendgrid.testing import SendGridEmulator
from gatepost_vonage.testing import VonageEmulator
from toml_values import toml_value

WAIT_TIMEOUT = 60.0
"""Seconds that a test waits for something that must happen; a busy machine is slow."""

needs_hangups = pytest.mark.skipif(
    signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, reason="SIGHUP is ignored here, as by a child of nohup"
)

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
    """A running gateway and an HTTP client of it."""

    def __init__(self, url: str, folder: Path, http: aiohttp.ClientSession) -> None:
        self.url = url
        self.folder = folder
        self.http = http

    async def post(self, path: str, body: object, *, secret: str | None = "the-secret", **headers: str):
        """POST a request of the contract; returns the JSON of the answer, after checking its status and type."""
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
        """Return the HTTP status, and the body when it is JSON."""
        async with self.http.get(self.url + path) as response:
            is_json = response.content_type == "application/json"
            return response.status, await response.json() if is_json else None

    async def metrics(self) -> dict[tuple[str, ...], float]:
        """Return every metric by its name and the values of its labels, sorted by the names of the labels."""
        return {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
            for sample in await self.scrape()
        }

    async def scrape(self) -> list[Sample]:
        """Return every sample of the metrics."""
        async with self.http.get(self.url + "/metrics") as response:
            assert response.status == 200
            text = await response.text()
        return [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    async def settled(self) -> None:
        """Wait until every message has ended and every callback was made or given up."""

        async def queues_are_empty() -> bool:
            metrics = await self.metrics()
            waiting = "gatepost_queue_messages", "gatepost_callbacks_waiting"
            return not any(value for (name, *_), value in metrics.items() if name in waiting)

        await until(queues_are_empty)

    async def waits(self, channel: str, state: str) -> None:
        """Wait until a message of this channel is in this state."""
        series = "gatepost_queue_messages", channel, state

        async def there_is_one() -> bool:
            return bool((await self.metrics()).get(series))

        await until(there_is_one)


def email(uid: str = "uid-1", **fields: object) -> dict[str, object]:
    """Return a valid request; a field given as None is left out."""
    request = {
        "ext_user_id": "anna",
        "from_email_address": "Brand <noreply@brand.example>",
        "subject": "Hello",
        "body": "<p>Hello <b>Anna</b></p>",
        "email_uid": uid,
        **fields,
    }
    return {name: value for name, value in request.items() if value is not None}


def sms(uid: str = "uid-1", **fields: object) -> dict[str, object]:
    request = {"ext_user_id": "anna", "body": "Hello", "im_uid": uid, **fields}
    return {name: value for name, value in request.items() if value is not None}


def _write(folder: Path, config: str) -> Path:
    if not (folder / "contacts.csv").exists():
        (folder / "contacts.csv").write_text(CONTACTS)
    path = folder / "gatepost.toml"
    path.write_text(config)
    return path


@asynccontextmanager
async def running(folder: Path, config: str = CONFIG, *, code: int = 0) -> AsyncIterator[Gateway]:
    """Run a gateway with this configuration while the block runs, then stop it by SIGTERM.

    ``code`` is the exit code that is expected.
    """
    path = _write(folder, config)
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


async def until(predicate: Callable[[], Any]) -> None:
    """Wait until ``predicate``, which may be async, returns something true."""
    async with asyncio.timeout(WAIT_TIMEOUT):
        while True:
            holds = predicate()
            if await holds if asyncio.iscoroutine(holds) else holds:
                return
            await asyncio.sleep(0.02)


Tables = dict[str, Any]
"""A gatepost.toml, as tables by their names; a list is an array of tables."""


def toml(tables: Tables) -> str:
    """Return the tables as TOML."""
    heads = [
        (f"[[{name}]]", one) if isinstance(table, list) else (f"[{name}]", one)
        for name, table in tables.items()
        for one in (table if isinstance(table, list) else [table])
    ]
    return "\n".join(
        "\n".join([head, *(f"{key} = {toml_value(value)}" for key, value in table.items()), ""])
        for head, table in heads
    )


class Deployment:
    """An emulated Smartico, emulated providers, and the configuration of a gateway between them.

    The fixture of a provider adds the provider's table, and nothing to the routes.
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
            # Far more than the usual two seconds, for a busy machine.
            "contacts": {"sources": ["players"], "timeout": 60.0},
            "delivery": {},
            "routes": {},
            "logs": {"level": "debug", "format": "json"},
            "plugins.players": {"use": "csv", "path": "contacts.csv", "check_every": 0.02},
        }

    def write(self) -> Path:
        """Write the configuration and the contacts into the folder; returns the path of the configuration."""
        (self.folder / "contacts.csv").write_text(self.contacts)
        path = self.folder / "gatepost.toml"
        path.write_text(toml(self.tables))
        return path

    def set_url(self, url: str) -> None:
        """Tell Smartico and the providers the URL of the gateway."""
        self.crm.gateway_url = url
        for name, emulator in self.emulators.items():
            emulator.webhook_url = f"{url}/webhooks/{name}"

    @asynccontextmanager
    async def running(self, *, code: int = 0, **routes: list[str]) -> AsyncIterator[Gateway]:
        """Run a gateway with this configuration while the block runs; it must end with exit code ``code``."""
        self.tables["routes"] |= routes
        self.write()
        async with running(self.folder, toml(self.tables), code=code) as gateway:
            self.set_url(gateway.url)
            yield gateway

    async def email(self, user: str = "anna", **fields: str | None) -> str:
        """Let Smartico send an email, which must be accepted; returns its id."""
        answer = await self.crm.send_email(**{"ext_user_id": user, **fields})
        assert answer["error_code"] == 0, answer
        return answer["ext_message_id"]

    async def sms(self, user: str = "anna", **fields: str | None) -> str:
        """Let Smartico send a text message, which must be accepted; returns its id."""
        answer = await self.crm.send_sms(**{"ext_user_id": user, "from_number": "Brand", **fields})
        assert answer["error_code"] == 0, answer
        return answer["ext_message_id"]

    async def hears(self, message: str, *statuses: str) -> None:
        """Wait for the last of these statuses, and check that Smartico got exactly these, in this order."""
        await self.crm.wait_for(message, statuses[-1], timeout=WAIT_TIMEOUT)
        assert self.crm.statuses_of(message) == list(statuses)
        assert not self.crm.violations


@pytest.fixture
def run(tmp_path):
    """Return a function that runs a command in a thread, because the gateway runs on this test's loop.

    With ``code=None`` the command may end with any exit code.
    """

    def run(*arguments, **options):
        return CliRunner().invoke(main, [*arguments, "--config", str(tmp_path / "gatepost.toml")], **options)

    async def in_thread(*arguments, code=0, **options):
        result = await asyncio.to_thread(run, *arguments, **options)
        assert code is None or result.exit_code == code, result.output
        return result.output

    return in_thread


@pytest.fixture
async def begin(deployment):
    """Return a function that starts a gateway in a process of its own, several times if needed."""
    processes: list[GatewayProcess] = []
    async with aiohttp.ClientSession() as http:

        async def start(**routes: list[str]) -> tuple[GatewayProcess, Gateway]:
            deployment.tables["routes"] |= routes
            process = GatewayProcess(deployment.write())
            processes.append(process)
            await asyncio.to_thread(process.start)
            deployment.set_url(process.url)
            return process, Gateway(process.url, deployment.folder, http)

        yield start
        for process in processes:
            process.kill()


@pytest.fixture(scope="module", autouse=True)
def plugins_looked_up_once():
    """Cache the lookup of plugins: reading the metadata of all distributions is half the work of a start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(discovery, "load", functools.cache(discovery.load))
        yield


@pytest.fixture(scope="module", autouse=True)
def log_beside_commands():
    """Keep the log of a gateway in this process out of the output of commands, which is what the process prints too."""
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))
    yield
    structlog.configure(**before)


@pytest.fixture
def brisk(monkeypatch):
    """Shorten the intervals of a gateway in this process from seconds and minutes to 50 ms."""
    monkeypatch.setattr("gatepost.upkeep.housekeeping.SWEEP_INTERVAL", 0.05)
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
    """Advance the loop's clock past the deadline whenever a provider withholds an answer."""

    async def advance():
        seen = 0
        while True:
            withheld = sum(emulator.withheld_answers for emulator in deployment.emulators.values())
            if withheld > seen:
                set_ahead(10.0)
            seen = withheld
            await asyncio.sleep(0.01)

    advancing = asyncio.create_task(advance())
    yield
    advancing.cancel()


@pytest.fixture
async def sendgrid(deployment):
    """Return an emulated SendGrid, as the instance ``sendgrid-main``."""
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
    """Return an emulated Vonage, as the instance ``vonage-eu``."""
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
    """The mails that an independent mail server (aiosmtpd) took, and how they were sent to it."""

    def __init__(self) -> None:
        self.envelopes: list[aiosmtpd.smtp.Envelope] = []
        self.sessions: list[tuple[bool, bool]] = []
        """For each mail whether the client had signed in, and whether the connection was encrypted."""

    async def handle_DATA(self, server, session, envelope):  # noqa: N802  aiosmtpd's name
        self.envelopes.append(envelope)
        encrypted = server.transport.get_extra_info("sslcontext") is not None
        self.sessions.append((session.authenticated, encrypted))
        return "250 2.0.0 ok"

    @property
    def mails(self) -> list[EmailMessage]:
        """Return the mails, parsed."""
        parser = BytesParser(policy=modern)
        return [parser.parsebytes(envelope.content) for envelope in self.envelopes]

    def sends(self, message_id: str) -> int:
        """Return how many mails with this id of Gatepost's arrived."""
        return sum(message_id in mail["Message-ID"] for mail in self.mails)


@pytest.fixture(scope="session")
def authority():
    return trustme.CA()


@asynccontextmanager
async def mail_server(folder: Path, authority: trustme.CA) -> AsyncIterator[tuple[Mailboxes, dict[str, Any]]]:
    """Run a mail server that requires STARTTLS and a login; yield it, and the table of its instance."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    mailboxes = Mailboxes()

    def sign_in(_server, _session, _envelope, _mechanism, data):
        good = (data.login, data.password) == (b"gatepost", b"relay-password")
        return aiosmtpd.smtp.AuthResult(success=good, handled=False)

    sessions: list[aiosmtpd.smtp.SMTP] = []

    def protocol() -> aiosmtpd.smtp.SMTP:
        session = aiosmtpd.smtp.SMTP(
            mailboxes,
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
        yield (
            mailboxes,
            {
                "use": "smtp",
                "host": "localhost",
                "port": server.sockets[0].getsockname()[1],
                "security": "starttls",
                "ca_file": "ca.pem",
                "username": "gatepost",
                "password": "relay-password",
            },
        )
        await stop(server)
    # Closing the server does not close its connections.
    for session in sessions:
        if session.transport:
            session.transport.abort()
    await asyncio.sleep(0)


@pytest.fixture
async def mailboxes(deployment, authority):
    """Return a mail server that requires STARTTLS and a login, as the instance ``relay``."""
    async with mail_server(deployment.folder, authority) as (mailboxes, table):
        deployment.tables["plugins.relay"] = table
        yield mailboxes


@pytest.fixture(scope="session")
def serve_mail():
    return mail_server


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
    """Return a function that makes a valid request of a channel, with a uid of this test."""
    return lambda channel, **fields: (email if channel == "email" else sms)(request.node.name, **fields)


@pytest.fixture
def raw():
    """Return a function that sends bytes to a server and returns the JSON of the answer."""
    return _raw


async def _raw(url: str, request: bytes) -> dict[str, object]:
    """Send bytes to a server; returns the JSON of the answer."""
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
