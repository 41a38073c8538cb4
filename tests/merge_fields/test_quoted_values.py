"""A provider's refusal that quotes a filled message: no value of a merge field gets into the store with it."""

import asyncio

import msgspec
import pytest

from gatepost.config.settings import InstanceSettings
from gatepost.contacts.lookup import ContactCache, Contacts
from gatepost.content import SmsContent
from gatepost.delivery.routes import RouteMember
from gatepost.delivery.worker import DeliveryWorker
from gatepost.errors import Rejected
from gatepost.hookspecs import hookimpl
from gatepost.model import Channel, Contact, Secret
from gatepost.observe.metrics import Metrics
from gatepost.outbox import Policy, open_outbox, queries
from gatepost.plugin_host.instances import Instance
from gatepost.throttle import Throttle
from torture.outage import sms_settings


class Users:
    @hookimpl
    async def find_contact(self, ext_user_id):
        attributes = {"born": "1990-12-31", "town": "ISPARTA", "language": "tr"}
        return Contact(phone=Secret("+447700900123"), attributes=attributes)


class QuotingProvider:
    @hookimpl
    async def send_sms(self, message):
        raise Rejected(f"policy: the text '{message.text}' is refused")


@pytest.mark.parametrize(("field", "value"), [("born:date", "1990"), ("town:lower", "ısparta")])
async def test_a_filtered_value_in_a_refusal_is_not_stored(tmp_path, new, field, value):
    settings = sms_settings(tmp_path, "provider")
    users = Instance(InstanceSettings(name="users", use="users"), Users())
    provider = Instance(InstanceSettings(name="provider", use="provider"), QuotingProvider())
    async with open_outbox(Secret("sqlite:///outbox.db"), tmp_path, Policy()) as outbox:
        worker = DeliveryWorker(
            settings,
            outbox=outbox,
            members={"provider": RouteMember(provider, Throttle(concurrency=1, per_second=0.0), None)},
            contacts=Contacts({"brand": [users]}, 2.0, ""),
            contact_cache=ContactCache(),
            metrics=Metrics(),
            clock=asyncio.get_running_loop().time,
        )
        task = asyncio.create_task(worker.run())
        text = f"Hello {{{{contact.{field}}}}}!"
        content = msgspec.msgpack.encode(SmsContent(text=text, merge_fields=True))
        message = new("uid-1", channel=Channel.SMS, route="sms", content=content, callback_url="")
        await outbox.put(message)
        while not (view := await _view(outbox, message.id)).reason:  # noqa: ASYNC110  no event exists
            await asyncio.sleep(0.01)
        worker.stop()
        await task

    assert "policy: the text 'Hello" in view.reason
    assert value not in view.reason


async def _view(outbox, identity):
    found = await outbox._database.transact(lambda connection: queries.find_messages(connection, identity))
    return found[0]
