"""Pixels: each open is recorded once, machines are told apart, and many requests cost the store nothing."""

import asyncio
import base64

import pytest

from gatepost.config.client import Client
from gatepost.config.routes import Routes
from gatepost.config.settings import Contacts, Delivery, Logs, Server, Settings, Store
from gatepost.errors import StoreBusy
from gatepost.links import opens
from gatepost.links.opens import Loader, Opens, loader_of
from gatepost.links.tokens import LinkKind, LinkTokens
from gatepost.model import Channel, Secret
from gatepost.observe.metrics import Metrics
from gatepost.outbox import NewMessage, Policy, new_id, open_outbox, queries

KEY = Secret(base64.b64encode(bytes(32)).decode())
TOKENS = LinkTokens([KEY])
PERSON = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Thunderbird/140.0"
APPLE = "Mozilla/5.0"
GMAIL = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
YAHOO = "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html"


class Deployment:
    """A store, and the pixels of messages in it; ``asked`` counts the calls of the store."""

    def __init__(self, folder, outbox):
        self.outbox = outbox
        self.metrics = Metrics()
        self.calls = 0
        self.fails = False
        self.may_read = asyncio.Event()
        self.may_read.set()
        clients = {
            "brand": Client(authorization=(), open_pixel=True),
            "counting": Client(authorization=(), open_pixel=True, count_machine_opens=True),
        }
        settings = Settings(
            path=folder,
            server=Server(token_keys=(KEY,)),
            store=Store(),
            clients=clients,
            contacts=Contacts(),
            delivery=Delivery(),
            routes=Routes(),
            logs=Logs(),
            plugins={},
        )
        self.opens = Opens(settings, self, TOKENS, self.metrics)

    async def record(self, reported):
        return await self._call(self.outbox.record(reported))

    async def change(self, work, order):
        await self.may_read.wait()
        return await self._call(self.outbox.change(work, order))

    async def _call(self, call):
        self.calls += 1
        if self.fails:
            call.close()
            raise StoreBusy("down")
        return await call

    async def message(self, client="brand"):
        message = NewMessage(
            id=new_id(),
            client=client,
            channel=Channel.EMAIL,
            route="email",
            uid=new_id(),
            fingerprint=b"f",
            ext_user_id="anna",
            preview="",
            callback_url="",
            content=b"{}",
            lifetime=60.0,
        )
        await self.outbox.put(message)
        return message.id

    async def load(self, message, agent=PERSON):
        return await self.opens.load(TOKENS.make(LinkKind.OPEN, message) + ".gif", agent)

    async def statuses(self, message):
        (view,) = await self.outbox.change(_views, message)
        return [one.status for one in view.statuses]

    def count(self, outcome):
        return self.metrics.link_requests.labels("open", outcome)._value.get()


def _views(tx, ids):
    return [queries.views_of_ids(tx.connection, [one]) for one in ids]


@pytest.fixture
async def deployment(tmp_path):
    async with open_outbox(Secret("sqlite:///o.db"), tmp_path, Policy()) as outbox:
        yield Deployment(tmp_path, outbox)


@pytest.mark.parametrize(
    ("agent", "loader"),
    [
        (PERSON, Loader.PROGRAM),
        (GMAIL, Loader.GOOGLE),
        (YAHOO, Loader.YAHOO),
        (APPLE, Loader.MACHINE),
        ("", Loader.MACHINE),
        ("Mozilla/5.0 ", Loader.MACHINE),
    ],
)
def test_known_proxies_are_told_apart(agent, loader):
    assert loader_of(agent) is loader


async def test_a_pixel_loaded_a_thousand_times_at_once_asks_the_store_once(deployment):
    message = await deployment.message()

    assert set(await asyncio.gather(*(deployment.load(message) for _ in range(1_000)))) == {200}
    assert await deployment.statuses(message) == ["accepted", "opened"]
    assert deployment.calls == 1
    assert (deployment.count("recorded"), deployment.count("repeated")) == (1, 999)


async def test_what_is_no_token_asks_the_store_nothing_and_is_not_remembered(deployment):
    token = TOKENS.make(LinkKind.OPEN, await deployment.message())
    foreign = TOKENS.make(LinkKind.UNSUBSCRIBE, new_id())
    names = [token, f"{token}.png", f"{token}.gif.gif", f"{foreign}.gif", "", ".gif", "x" * 10_000 + ".gif"]

    assert {await deployment.opens.load(name, PERSON) for name in names} == {404}
    assert (deployment.calls, deployment.opens._results) == (0, {})
    assert deployment.count("invalid") == len(names)


async def test_an_unknown_message_is_looked_for_once(deployment):
    message = new_id()

    assert [await deployment.load(message), await deployment.load(message)] == [404, 404]
    assert deployment.calls == 1


async def test_few_messages_are_remembered(deployment, monkeypatch):
    monkeypatch.setattr(opens, "MAX_REMEMBERED", 3)
    messages = [await deployment.message() for _ in range(5)]
    for message in messages:
        await deployment.load(message)
    assert list(deployment.opens._results) == messages[2:]

    await deployment.load(messages[0])
    assert deployment.calls == 6
    assert await deployment.statuses(messages[0]) == ["accepted", "opened"]


async def test_a_machine_does_not_open_a_mail_and_the_person_after_it_does(deployment):
    message = await deployment.message()

    assert [await deployment.load(message, APPLE) for _ in range(3)] == [200] * 3
    assert await deployment.statuses(message) == []
    assert (deployment.count("machine"), deployment.calls) == (3, 1)

    await deployment.load(message)
    await deployment.load(message, APPLE)
    assert await deployment.statuses(message) == ["accepted", "opened"]
    assert deployment.calls == 2


async def test_a_person_who_opens_while_the_store_is_asked_about_a_machine_counts(deployment):
    message = await deployment.message()

    deployment.may_read.clear()

    machine = asyncio.create_task(deployment.load(message, APPLE))
    await asyncio.sleep(0)
    await deployment.load(message)
    deployment.may_read.set()
    await machine
    await deployment.load(message)

    assert await deployment.statuses(message) == ["accepted", "opened"]
    assert deployment.calls == 2


async def test_a_client_may_want_machines_counted(deployment):
    message = await deployment.message("counting")

    await deployment.load(message, APPLE)

    assert await deployment.statuses(message) == ["accepted", "opened"]
    assert deployment.metrics.pixel_loads.labels("machine")._value.get() == 1


async def test_gmails_proxy_loads_what_a_person_opens(deployment):
    message = await deployment.message()

    await deployment.load(message, GMAIL)

    assert await deployment.statuses(message) == ["accepted", "opened"]
    assert deployment.metrics.pixel_loads.labels("google")._value.get() == 1


async def test_an_open_that_was_not_stored_is_loaded_again(deployment):
    message = await deployment.message()
    deployment.fails = True
    assert await deployment.load(message) == 503

    deployment.fails = False
    assert await deployment.load(message) == 200
    assert await deployment.statuses(message) == ["accepted", "opened"]
