"""A console in this process, on a store whose clock a test moves; for tests."""

from contextlib import asynccontextmanager
from ipaddress import ip_network
from types import SimpleNamespace

import httpx

from claiming import claim_due
from gatepost.app import load
from gatepost.console.access import Access
from gatepost.console.app import create_console
from gatepost.console.batches import BatchChanges
from gatepost.console.login_throttle import LoginThrottle
from gatepost.console.passwords import PasswordCheck
from gatepost.console.recent import RecentValues
from gatepost.console.services import ConsoleServices
from gatepost.model import Channel, Secret, StatusEvent
from gatepost.outbox import (
    Policy,
    ReportedEvents,
    SendResult,
    Try,
    open_outbox,
    sqlite,
    statistics,
)
from gatepost.outbox.console_users import ConsoleUser, UserChange, put_user
from gatepost.outbox.reader import Reader
from gatepost.outbox.states import State
from gatepost.throttle import Throttle
from gatepost.upkeep.heartbeat import Heartbeat
from gatepost.web.admin.services import AdminServices

NOON = 1_800_014_400.0
"""2027-01-15 12:00:00Z."""

CONFIG = """
[server]
[clients.brand]
authorization = ["secret"]
allow_ips = ["127.0.0.1"]
callback_api_key = "key"
callback_hosts = ["crm.example"]
email_per_day = 4
[clients.other]
email_per_day = 1
authorization = ["other secret"]
allow_ips = ["127.0.0.1"]
callback_api_key = "key"
callback_hosts = ["crm.example"]
[contacts]
sources = ["players"]
shared = true
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


class Clock:
    now = NOON

    def __call__(self):
        return self.now


class Site:
    """A console on a store, and what sends messages into it."""

    def __init__(self, services, app, http, clock, new):
        self.app = app
        self.services, self.admin, self.reader = services, services.admin, services.reader
        self.outbox, self.http, self.clock, self._new = services.admin.outbox, http, clock, new
        self._sent = 0

    async def get(self, path, user="maria"):
        """Return the HTTP status and the text of a page."""
        answer = await self.http.get(path, headers={"x-user": user})
        return answer.status_code, answer.text

    def paths(self, method):
        """Return the paths of the console that take requests of this method."""
        return {
            route.path
            for route in self.app.routes
            for one in route.route_handlers
            if method in one.http_methods
        }

    async def send(self, *reported, instance="box", price="", **fields):
        """Accept a message, let a plugin take it, and report these statuses of it; return its id."""
        one = Try(instance=instance, outcome="sent", price=price, currency="EUR" if price else "")
        identity = await self._finish(State.SENT, one, fields)
        events = [StatusEvent(status=status, message_id=identity) for status in reported]
        await self.outbox.record(ReportedEvents(instance=instance, events=events))
        return identity

    async def reject(self, instance="box", **fields):
        """Accept a message, and let a plugin refuse it for good; return its id."""
        return await self._finish(State.REJECTED, Try(instance=instance, outcome="rejected"), fields)

    async def _finish(self, state, one, fields):
        message = self._message(**fields)
        await self.outbox.put(message)
        (claim,) = await claim_due(self.outbox, message.channel, 1, 30.0)
        result = SendResult(
            id=claim.id, attempt=claim.attempt, state=state, instance=one.instance, tries=[one]
        )
        await self.outbox.finish(result)
        return claim.id

    async def wait(self, **fields):
        """Accept a message that waits; return its id."""
        message = self._message(**fields)
        await self.outbox.put(message)
        return message.id

    def _message(self, uid="", **fields):
        self._sent += 1
        return self._new(uid or f"uid-{self._sent}", **fields)

    async def roll_up(self):
        while await self.outbox.change(statistics.roll_up, None):
            pass


@asynccontextmanager
async def open_site(url, tmp_path, new, config=CONFIG):
    """Open a console that the operator maria, of all clients, and of the client brand vera and the operator olga see."""
    clock = Clock()
    (tmp_path / "contacts.csv").write_text("ext_user_id,email,phone\n")
    (tmp_path / "gatepost.toml").write_text(config)
    settings, instances = load(tmp_path / "gatepost.toml")
    reader = Reader(Secret(url), tmp_path)
    passwords = PasswordCheck()
    async with open_outbox(Secret(url), tmp_path, Policy(), clock=clock) as outbox:
        # On PostgreSQL the server's clock would count, which a test can't advance.
        outbox._now = reader.clock = sqlite.database_clock(clock)
        for user in (
            ConsoleUser(name="maria", role="operator"),
            ConsoleUser(name="vera", role="viewer", clients=["brand"]),
            ConsoleUser(name="olga", role="operator", clients=["brand"]),
        ):
            await outbox.change(put_user, UserChange(user, "test"))
        proxies = [ip_network("127.0.0.1")]
        admin = AdminServices(
            settings=settings,
            outbox=outbox,
            acceptance=None,
            contacts=None,
            callbacks=SimpleNamespace(resting_targets=list, end_rests=lambda _targets: None),
            throttles={
                name: Throttle(concurrency=1, per_second=0)
                for channel in Channel
                for name in settings.routes.instances(channel)
            },
            instances=instances,
            heartbeat=Heartbeat(outbox),
            metrics=None,
        )
        services = ConsoleServices(
            admin=admin,
            reader=reader,
            access=Access(outbox, reader, user_header="x-user", user_header_networks=proxies),
            passwords=passwords,
            throttle=LoginThrottle(clock),
            recent=RecentValues(clock),
            batches=BatchChanges(admin, reader),
        )
        app = create_console(services, {"localhost"})
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            yield Site(services, app._app, http, clock, new)
    passwords.close()
    await reader.close()
