"""A store, and a process that sends by routes for text messages, on the clock of the event loop; for tests."""

import asyncio
from contextlib import asynccontextmanager

import msgspec
from sqlalchemy import select
from structlog.testing import capture_logs

from gatepost.config.client import Client
from gatepost.config.routes import Routes
from gatepost.config.settings import InstanceSettings
from gatepost.contacts.lookup import ContactCache, Contacts
from gatepost.content import SmsContent
from gatepost.delivery.routes import route_member
from gatepost.delivery.worker import DeliveryWorker
from gatepost.errors import Unavailable
from gatepost.hookspecs import hookimpl
from gatepost.model import Channel, Contact, Receipt, Secret
from gatepost.observe.metrics import Metrics
from gatepost.outbox import Policy, open_outbox, pauses
from gatepost.outbox.pauses import PauseOrder, ResumeOrder, Scope
from gatepost.outbox.schema import attempts, messages, queues
from gatepost.plugin_host.instances import Instance
from torture.outage import sms_settings

NUMBERS = {"anna": "+447700900123", "jean": "+33612345678"}


class Users:
    """A contact source that may be away."""

    away = False
    takes = 0.0

    @hookimpl
    async def find_contact(self, ext_user_id):
        await asyncio.sleep(self.takes)
        if self.away:
            raise Unavailable("away")
        return Contact(phone=Secret(NUMBERS[ext_user_id])) if ext_user_id in NUMBERS else None


class Sends:
    """A provider that notes what it sends, and when."""

    def __init__(self):
        self.at = {}
        self.lifetimes = []
        self.takes = 0.0
        self.answers_in = 0.0
        """Seconds after which it says that it is down."""
        self.down = False

    @hookimpl
    async def send_sms(self, message):
        if self.down:
            await asyncio.sleep(self.answers_in)
            raise Unavailable("down", retry_after=60.0)
        self.lifetimes.append(message.lifetime)
        self.at[message.id] = asyncio.get_running_loop().time()
        await asyncio.sleep(self.takes)
        return Receipt(provider_id=message.id)


class Deployment:
    """A store, and a process that sends by routes for text messages."""

    def __init__(self, folder, new):
        self.folder = folder
        self.new = new
        self.users = Users()
        self.providers = {"one": Sends(), "other": Sends()}
        self.limits = {"one": {}, "other": {}}
        self.clients = ("brand", "second")
        self.policy = Policy()
        self.time_shift = 0.0
        """Seconds by which a test has moved the clock of the store."""

    @asynccontextmanager
    async def opened(self):
        loop = asyncio.get_running_loop()
        async with open_outbox(
            Secret("sqlite:///outbox.db"),
            self.folder,
            self.policy,
            clock=lambda: 1_800_000_000.0 + loop.time() + self.time_shift,
        ) as self.outbox:
            yield

    @asynccontextmanager
    async def sending(self, *rules):
        """Run a process that has these rules."""
        loop = asyncio.get_running_loop()
        settings = msgspec.structs.replace(
            sms_settings(self.folder),
            routes=Routes(sms=rules),
            clients={name: Client(authorization=()) for name in self.clients},
        )
        instances = {
            name: Instance(InstanceSettings(name=name, use=name, **self.limits[name]), provider)
            for name, provider in self.providers.items()
        }
        users = Instance(InstanceSettings(name="users", use="users"), self.users)
        worker = DeliveryWorker(
            settings,
            outbox=self.outbox,
            members={
                name: route_member(instance, clients=2, shared=False) for name, instance in instances.items()
            },
            contacts=Contacts({name: [users] for name in self.clients}, 2.0, ""),
            contact_cache=ContactCache(),
            metrics=Metrics(),
            clock=loop.time,
        )
        with capture_logs():
            running = asyncio.create_task(worker.run())
            try:
                yield
            finally:
                worker.stop()
                await running

    async def pause(self, **scope):
        await self.outbox.change(pauses.pause, PauseOrder(Scope(**scope), "maria"))
        await self.outbox.read_pauses()

    async def resume(self):
        await self.outbox.change(pauses.resume, ResumeOrder(None, "maria"))
        await self.outbox.read_pauses()

    async def put(self, uid, route="", user="anna", client="brand"):
        message = self.new(
            f"{client}-{uid}",
            client=client,
            channel=Channel.SMS,
            route=route,
            ext_user_id=user,
            content=msgspec.msgpack.encode(SmsContent(text=f"Hello {uid}", sender="Brand")),
            callback_url="",
        )
        await self.outbox.put(message)
        return message.id

    async def put_many(self, count, **fields):
        return await asyncio.gather(*(self.put(f"{fields}-{number}", **fields) for number in range(count)))

    @property
    def sent_at(self):
        return self.providers["one"].at | self.providers["other"].at

    async def sent(self, *ids):
        while not self.sent_at.keys() >= set(ids):
            assert asyncio.get_running_loop().time() < 3_600, "a message was never sent"
            await asyncio.sleep(0.1)

    async def row(self, message_id):
        """Return the message's row, with the name of its route."""
        query = (
            select(messages, queues.c.route)
            .join(queues, queues.c.id == messages.c.queue)
            .where(messages.c.id == message_id)
        )
        return await self.outbox._database.transact(lambda connection: connection.execute(query).one())

    async def choices(self):
        query = select(attempts.c.message_id, attempts.c.choice)
        rows = await self.outbox._database.transact(lambda connection: connection.execute(query).all())
        return {row.message_id: row.choice for row in rows}

    async def ended(self, message_id):
        while (await self.row(message_id)).ended_at is None:
            assert asyncio.get_running_loop().time() < 3_600, "a message never ended"
            await asyncio.sleep(0.1)
        return await self.row(message_id)
