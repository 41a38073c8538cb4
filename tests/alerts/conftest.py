"""A receiver of alerts on a real socket, a store, and the alerts of gateways whose clock the test advances."""

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from sqlalchemy import delete, update
from structlog.testing import capture_logs

from gatepost.alerts.loop import LOOK_INTERVAL, Alerts
from gatepost.config import settings as config
from gatepost.config.client import Client
from gatepost.config.routes import Route, Routes
from gatepost.config.settings import Console, Contacts, Delivery, Logs, Server, Settings, Store
from gatepost.model import Secret
from gatepost.outbox import Policy, open_outbox, sqlite
from gatepost.outbox.reader import Reader
from gatepost.outbox.schema import messages
from gatepost.testing.serving import serving
from gatepost.upkeep.status import GatewayStatus


class Receiver:
    """A service that takes alerts, and can fail or hang."""

    def __init__(self):
        self.messages = []
        self.status = 200
        self.hangs = False
        self.url = ""

    async def answer(self, request):
        self.messages.append(json.loads(await request.read()))
        if self.hangs:
            await asyncio.Event().wait()
        return web.Response(status=self.status)

    @property
    def titles(self):
        return [one["title"] for one in self.messages]

    def take(self):
        """Return the bodies of the messages since the last call."""
        taken, self.messages = self.messages, []
        return [one["message"] for one in taken]


@pytest.fixture
def receiving():
    """Return a function that opens one more receiver."""

    @asynccontextmanager
    async def start():
        receiver = Receiver()
        async with serving(web.Server(receiver.answer)) as url:
            receiver.url = url.replace("http://", "json://") + "/secret-path"
            yield receiver

    return start


@pytest.fixture
async def receiver(receiving):
    async with receiving() as one:
        yield one


def settings_of(folder, *urls, store="sqlite:///gatepost.db", **alerts):
    return Settings(
        path=Path(folder) / "gatepost.toml",
        server=Server(),
        store=Store(url=Secret(store)),
        clients={"brand": Client(authorization=(Secret("x"),))},
        contacts=Contacts(),
        delivery=Delivery(),
        routes=Routes(email=(Route(name="all", use=("acme", "other")),)),
        logs=Logs(),
        console=Console(),
        alerts=config.Alerts(notify=tuple(map(Secret, urls))),
        plugins={},
    )


class Clock:
    def __init__(self):
        self.now = 1_800_000_000.0

    def __call__(self):
        return self.now


class AlertingGateway:
    """The alerts of one gateway, without its loop: the test lets time pass."""

    def __init__(self, settings, outbox, reader, clock, host="box-1"):
        self.outbox = outbox
        self.reader = reader
        self.clock = clock
        self.instances = []
        self.store_fails = False
        self.alerts = Alerts(settings, outbox, self.status, host=host, clock=clock)

    async def status(self):
        return GatewayStatus(
            version="0.1.0",
            uptime=100.0,
            lag=0.0,
            store_fails=self.store_fails,
            missing_keys={},
            certificate_ends_at=None,
            plugins=self.instances,
            sources=[],
            resting_targets=[],
        )

    async def look(self):
        await self.alerts.look(self.reader)

    async def passes(self, seconds):
        """Let time pass, with the looks of the loop."""
        for _ in range(round(seconds / LOOK_INTERVAL)):
            self.clock.now += LOOK_INTERVAL
            await self.look()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def gateway_on(tmp_path, clock):
    """Return a function for the alerts of one more gateway on a store."""
    async with AsyncExitStack() as stack:

        async def start(*urls, store="sqlite:///gatepost.db", host="box-1"):
            settings = settings_of(tmp_path, *urls, store=store)
            outbox = await stack.enter_async_context(
                open_outbox(settings.store.url, tmp_path, Policy(), clock=clock)
            )
            reader = Reader(settings.store.url, tmp_path)
            if store.startswith("sqlite"):
                reader.clock = sqlite.database_clock(clock)
            stack.push_async_callback(reader.close)
            return AlertingGateway(settings, outbox, reader, clock, host)

        yield start


@pytest.fixture
async def gateway(gateway_on, receiver):
    return await gateway_on(receiver.url)


@pytest.fixture
def old_queue(new):
    """Return a function after which a message has waited for an hour, and one after which nothing waits."""

    async def begin(outbox):
        message = new(ext_user_id="canary-user", uid="canary-uid")
        await outbox.put(message)
        await outbox._database.transact(
            lambda connection: connection.execute(
                update(messages).values(due_at=messages.c.due_at - 3_600_000)
            )
        )

    async def end(outbox):
        await outbox._database.transact(lambda connection: connection.execute(delete(messages)))

    return begin, end


@pytest.fixture
def log():
    with capture_logs() as lines:
        yield lines
