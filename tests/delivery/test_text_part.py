"""The text part of mails that bring none: derived once for each message; the mail is sent even where that fails."""

import asyncio
from contextlib import asynccontextmanager
from unittest.mock import patch

import msgspec
import pytest
import structlog

from gatepost.config.routes import Routes
from gatepost.config.settings import InstanceSettings
from gatepost.contacts.lookup import ContactCache, Contacts
from gatepost.content import EmailContent
from gatepost.delivery import html_text
from gatepost.delivery.html_text import SLICE_LENGTH, TextParts
from gatepost.delivery.html_text.render import Renderer
from gatepost.delivery.routes import RouteMember
from gatepost.delivery.worker import DeliveryWorker
from gatepost.errors import Unavailable
from gatepost.hookspecs import hookimpl
from gatepost.model import Channel, Mailbox, Receipt, Secret
from gatepost.observe.metrics import Metrics
from gatepost.outbox import Policy, open_outbox
from gatepost.plugin_host.instances import Instance
from gatepost.throttle import Throttle
from torture.fast_forward import FastForward
from torture.outage import Users, sms_settings

HTML = "<p>Hello {{contact.first_name|there}},<br><a href='https://brand.example/'>play</a></p>"
TEXT = "Hello {{contact.first_name|there}},\nplay (https://brand.example/)"


@pytest.fixture
def anyio_backend():
    return "asyncio", {"loop_factory": FastForward}


class Relay:
    """A provider that refuses the first tries."""

    def __init__(self, refusals=2):
        self.messages = []
        self.refusals = refusals

    @hookimpl
    async def send_email(self, message):
        self.messages.append(message)
        if len(self.messages) <= self.refusals:
            raise Unavailable("down")
        return Receipt()


def mail(html=HTML, text=None):
    return msgspec.msgpack.encode(
        EmailContent(sender=Mailbox("noreply@brand.example"), subject="", html=html, text=text)
    )


@asynccontextmanager
async def delivering(folder, relay, metrics):
    """Run a delivery worker until the block ends; a second one continues with the same store."""
    loop = asyncio.get_running_loop()
    async with open_outbox(
        Secret("sqlite:///outbox.db"), folder, Policy(), clock=lambda: 1_800_000_000.0 + loop.time()
    ) as outbox:
        settings = msgspec.structs.replace(
            sms_settings(folder), routes=Routes(email=Routes.listed(Channel.EMAIL, ("relay",)))
        )
        instance = Instance(InstanceSettings(name="relay", use="relay"), relay)
        delivery = DeliveryWorker(
            settings,
            outbox=outbox,
            members={"relay": RouteMember(instance, Throttle(concurrency=4, per_second=0.0))},
            contacts=Contacts(
                {"brand": [Instance(InstanceSettings(name="users", use="users"), Users())]}, 2.0, ""
            ),
            contact_cache=ContactCache(),
            metrics=metrics,
            clock=loop.time,
        )
        task = asyncio.create_task(delivery.run())
        yield outbox
        delivery.stop()
        await task


async def wait_for_tries(relay, times):
    """Wait until the relay was tried ``times`` times; on this clock an hour passes at once."""
    for _ in range(3600):
        if len(relay.messages) >= times:
            return
        await asyncio.sleep(1.0)
    pytest.fail(f"it was tried {len(relay.messages)} times")


def counted(metrics):
    samples = next(iter(metrics.text_parts.collect())).samples
    return {one.labels["outcome"]: one.value for one in samples if one.value}


async def test_the_text_is_derived_once_a_message_across_tries_and_restarts(tmp_path, new):
    relay, metrics = Relay(), Metrics()
    async with delivering(tmp_path, relay, metrics) as outbox:
        await outbox.put(new(content=mail(), callback_url=""))
        await wait_for_tries(relay, 1)
    async with delivering(tmp_path, relay, metrics):
        await wait_for_tries(relay, 3)

    assert [one.text for one in relay.messages] == [TEXT] * 3
    assert [one.html for one in relay.messages] == [HTML] * 3
    assert counted(metrics) == {"derived": 1}


async def test_a_mail_with_its_own_text_keeps_it(tmp_path, new):
    relay, metrics = Relay(refusals=0), Metrics()
    async with delivering(tmp_path, relay, metrics) as outbox:
        await outbox.put(new(content=mail(text="  Mine.\n"), callback_url=""))
        await wait_for_tries(relay, 1)

    assert relay.messages[0].text == "  Mine.\n"
    assert counted(metrics) == {}


@pytest.mark.parametrize(
    "html", ["<b>" * 30_000 + "hush", "<p>hush" + " " * 2_000_000, "<style>hush</style>"]
)
async def test_a_mail_whose_html_gives_no_text_is_sent_with_html_alone(tmp_path, new, html):
    relay, metrics = Relay(), Metrics()
    with structlog.testing.capture_logs() as logs:
        async with delivering(tmp_path, relay, metrics) as outbox:
            message = new(content=mail(html), callback_url="")
            await outbox.put(message)
            await wait_for_tries(relay, 3)

    assert [(one.html, one.text) for one in relay.messages] == [(html, "")] * 3
    lines = [line for line in logs if line["event"] == "text_part_left_out"]
    if "style" in html:
        assert (counted(metrics), lines) == ({"empty": 1}, [])
    else:
        assert counted(metrics) == {"too_large": 1}
        (line,) = lines
        assert (line["message"], line["client"]) == (message.id, "brand")
        assert "hush" not in str(lines)


async def test_a_mail_is_sent_although_its_conversion_fails(tmp_path, new):
    relay, metrics = Relay(), Metrics()
    with structlog.testing.capture_logs() as logs, patch.object(Renderer, "add", side_effect=RuntimeError):
        async with delivering(tmp_path, relay, metrics) as outbox:
            await outbox.put(new(content=mail(), callback_url=""))
            await wait_for_tries(relay, 3)

    assert [(one.html, one.text) for one in relay.messages] == [(HTML, "")] * 3
    assert counted(metrics) == {"failed": 1}
    assert [line["log_level"] for line in logs if line["event"] == "text_part_failed"] == ["error"]


async def test_many_hostile_mails_of_one_client_cost_another_one_slice_each_time(monkeypatch):
    """One mail of a client is converted at a time, with one slice for each slice of the other client."""
    turns = {"hostile": 0, "other": 0}

    real = html_text.conversion

    def counting(html):
        steps = real(html, max_markup=2**40)
        while True:
            turns["hostile" if html.startswith("<b>") else "other"] += 1
            try:
                yield next(steps)
            except StopIteration as end:
                return end.value

    monkeypatch.setattr(html_text, "conversion", counting)
    parts = TextParts(["hostile", "other"], Metrics())
    flood = [
        asyncio.create_task(parts.derive(f"{n}", "hostile", "<b>" * (10 * SLICE_LENGTH))) for n in range(20)
    ]
    await asyncio.sleep(0)
    before = turns["hostile"]
    await parts.derive("x", "other", "<p>word " * SLICE_LENGTH)
    taken = turns["hostile"] - before
    for task in flood:
        task.cancel()
    await asyncio.gather(*flood, return_exceptions=True)

    assert turns["other"] >= 8
    assert taken <= turns["other"] + 2
