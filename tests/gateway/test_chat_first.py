"""A route with next_after: Viber first and then SMS, both through emulated Vonage accounts, over a whole gateway."""

import asyncio
import time

import pytest

from gatepost.config.routes import Routes
from gatepost.config.settings import InstanceSettings
from gatepost.contacts.lookup import Contacts
from gatepost.contacts.users import UserSearch
from gatepost.errors import BadSignature
from gatepost.model import Report, WebhookRequest
from gatepost.observe.metrics import Metrics
from gatepost.testing import emulator
from gatepost.webhooks.handler import Webhooks
from gatepost_vonage.testing import VonageEmulator


@pytest.fixture
async def ways(deployment):
    """Return the emulated accounts of Viber and of SMS, on a route that moves on after 0.5 s."""
    async with VonageEmulator() as viber, VonageEmulator() as texts:
        for name, one, sender, channel in (
            ("viber-eu", viber, "16273", "viber"),
            ("sms-eu", texts, "Brand", "sms"),
        ):
            deployment.emulators[name] = one
            deployment.tables[f"plugins.{name}"] = {
                "use": "vonage",
                "channel": channel,
                "application_id": one.application_id,
                "private_key": one.private_key,
                "signature_secret": one.signature_secret,
                "default_sender": sender,
                "base_url": one.base_url,
            }
        set_wait(deployment, 0.5)
        yield viber, texts


def set_wait(deployment, seconds):
    rule = {"name": "chat-first", "use": ["viber-eu", "sms-eu"], "next_after": seconds}
    deployment.tables["[routes.sms]"] = rule


async def test_what_is_not_delivered_in_time_goes_out_as_sms(deployment, ways):
    viber, texts = ways
    async with deployment.running() as gateway:
        message = await deployment.sms()
        await gateway.settled()
        await deployment.hears(message, "accepted")
        assert (viber.sends(message), texts.sends(message)) == (1, 1)
        assert viber.taken[0].message["channel"] == "viber_service"
        assert texts.taken[0].message["text"] == "Hello there"
        # Viber gives up when the SMS goes out; 30 s is its shortest time.
        assert viber.taken[0].message["viber_service"]["ttl"] == 30
        assert texts.taken[0].message["ttl"] > 14_000

        assert await texts.report([texts.event("delivered", texts.taken[0])]) == [200]
        await deployment.hears(message, "accepted", "delivered")
        # The user's phone is on again: nothing contradicts what was said.
        await viber.report([viber.event("rejected:1180", viber.taken[0])])
        await gateway.settled()
        await deployment.hears(message, "accepted", "delivered")


async def test_what_is_delivered_goes_out_no_more(deployment, ways):
    viber, texts = ways
    set_wait(deployment, 3)
    async with deployment.running() as gateway:
        message = await deployment.sms()
        await gateway.waits("sms", "awaiting")
        await viber.report([viber.event("delivered", viber.taken[0])])
        await deployment.hears(message, "accepted", "delivered")
        await gateway.settled()
        await viber.report([viber.event("read", viber.taken[0])])
        await deployment.hears(message, "accepted", "delivered", "opened")
    assert (viber.sends(message), texts.requests) == (1, [])


@pytest.mark.parametrize("kind", ["undeliverable", "rejected:1180"])
async def test_a_reported_failure_sends_the_sms_at_once(deployment, ways, kind):
    viber, texts = ways
    set_wait(deployment, 3600)
    async with deployment.running() as gateway:
        message = await deployment.sms()
        await gateway.waits("sms", "awaiting")
        await viber.report([viber.event(kind, viber.taken[0])])
        await gateway.settled()
        assert (viber.sends(message), texts.sends(message)) == (1, 1)
        await deployment.hears(message, "accepted")
        await texts.report([texts.event("undeliverable:1110", texts.taken[0])])
        await deployment.hears(message, "accepted", "failed")


async def test_a_refusal_of_the_first_is_no_refusal_of_the_message(deployment, ways):
    viber, texts = ways
    set_wait(deployment, 3600)
    viber.failure = emulator.answer(422)
    async with deployment.running() as gateway:
        message = await deployment.sms()
        await gateway.settled()
        await deployment.hears(message, "accepted")
    assert (viber.sends(message), texts.sends(message)) == (0, 1)


async def test_a_late_delivery_of_the_first_is_told_after_the_sms(deployment, ways):
    viber, texts = ways
    async with deployment.running() as gateway:
        message = await deployment.sms()
        await gateway.settled()
        await viber.report([viber.event("delivered", viber.taken[0])])
        await deployment.hears(message, "accepted", "delivered")
        await texts.report([texts.event("undeliverable:1110", texts.taken[0])])
        await gateway.settled()
        await deployment.hears(message, "accepted", "delivered")


async def test_a_failure_is_told_only_when_the_first_can_not_deliver_any_more(deployment, ways):
    viber, texts = ways
    async with deployment.running() as gateway:
        message = await deployment.sms()
        await gateway.settled()
        await texts.report([texts.event("undeliverable:1110", texts.taken[0])])
        await gateway.waits("sms", "awaiting")
        assert deployment.crm.statuses_of(message) == ["accepted"]
        await viber.report([viber.event("undeliverable", viber.taken[0])])
        await deployment.hears(message, "accepted", "failed")
        await gateway.settled()


async def test_a_lost_answer_of_the_first_is_followed_by_the_sms(deployment, ways):
    viber, texts = ways
    viber.plan(emulator.close_after_body(taken=True))
    async with deployment.running() as gateway:
        message = await deployment.sms()
        await gateway.settled()
        await deployment.hears(message, "accepted")
    assert (viber.sends(message), texts.sends(message)) == (1, 1)


async def test_while_the_first_rests_the_sms_is_the_only_way(deployment, ways):
    viber, texts = ways
    viber.failure = emulator.answer(503)
    async with deployment.running() as gateway:
        message = await deployment.sms()
        await gateway.settled()
        await deployment.hears(message, "accepted")
    assert (viber.sends(message), texts.sends(message)) == (0, 1)


async def test_a_refused_webhook_holds_the_sms(deployment, ways):
    viber, texts = ways
    set_wait(deployment, 1)
    async with deployment.running() as gateway:
        message = await deployment.sms()
        await gateway.waits("sms", "awaiting")
        delivered = viber.event("delivered", viber.taken[0])
        assert await viber.report([delivered], tampering="forged") == [401]
        begun = time.monotonic()
        while time.monotonic() < begun + 2.5:
            assert texts.requests == []
            await asyncio.sleep(0.2)
        assert await viber.report([delivered]) == [200]
        await deployment.hears(message, "accepted", "delivered")
        await gateway.settled()
    assert texts.requests == []


class ReportingInstance:
    """An instance whose webhooks are refused or accepted, as the test says."""

    settings = InstanceSettings(name="viber-eu", use="viber")
    takes_webhooks = True
    retry_status = 503
    is_refusing = True

    async def parse_webhook(self, _request):
        if self.is_refusing:
            raise BadSignature("forged")
        return Report()


async def test_refused_webhooks_count_for_ten_minutes_or_until_one_is_accepted():
    now = 1000.0
    instance = ReportingInstance()
    users = UserSearch(Contacts({}, 2.0, ""), Routes(), 2.0)
    handler = Webhooks({"viber-eu": instance}, Routes(), None, users, Metrics(), clock=lambda: now)
    request = WebhookRequest(method="POST", url="", headers={}, body=b"", received_at=0.0)

    async def refuse_one():
        instance.is_refusing = True
        assert (await handler.handle("viber-eu", request)).status == 401

    assert handler.refused_instances == set()
    await refuse_one()
    assert (await handler.handle("unknown", request)).status == 404
    assert handler.refused_instances == {"viber-eu"}
    now += 599
    assert handler.refused_instances == {"viber-eu"}
    now += 1
    assert handler.refused_instances == set()

    await refuse_one()
    instance.is_refusing = False
    assert (await handler.handle("viber-eu", request)).status == 200
    assert handler.refused_instances == set()
