"""Two replicas on PostgreSQL that send through an instance with a rate."""

import asyncio
import time

import msgspec
from sqlalchemy import update

from gatepost.config.routes import Route, Routes
from gatepost.config.settings import InstanceSettings
from gatepost.contacts.lookup import ContactCache, Contacts
from gatepost.content import SmsContent
from gatepost.delivery.routes import route_member
from gatepost.delivery.worker import DeliveryWorker
from gatepost.model import Channel, Secret
from gatepost.observe.metrics import Metrics
from gatepost.outbox import Policy, open_outbox
from gatepost.outbox.schema import messages
from gatepost.plugin_host.instances import Instance
from torture import goals, shared_rate
from torture.outage import Users, sms_settings

PER_SECOND = 50.0


async def test_the_replicas_together_never_begin_a_send_before_its_turn(postgres_server, tmp_path):
    """However late each send is: at no moment were there more of them than turns."""
    url = postgres_server.new_database()
    await shared_rate.put(url, tmp_path, 60)
    provider = shared_rate.Provider()
    began = time.monotonic()
    async with (
        shared_rate.replica(url, tmp_path, provider, PER_SECOND),
        shared_rate.replica(url, tmp_path, provider, PER_SECOND),
    ):
        while len(provider.sends) < 60:  # noqa: ASYNC110  no event exists
            await asyncio.sleep(0.05)

    assert len({message_id for _, message_id in provider.sends}) == len(provider.sends) == 60
    for number, (moment, _) in enumerate(sorted(provider.sends)):
        assert number <= (moment - began) * PER_SECOND


async def test_replicas_that_do_not_share_the_rate_miss_the_goals(postgres_server, tmp_path):
    figures = await shared_rate.measure(
        postgres_server.new_database(),
        tmp_path,
        # So few that a slow machine can send twice as many.
        per_second=10.0,
        seconds=4.0,
        build=shared_rate.unshared_member,
    )

    missed = [line.figure for line in goals.lines("shared-rate", figures) if line.reached is False]
    # On a busy machine the part of the rate that was used is missed too.
    assert "beyond the rate" in missed


async def test_slow_lookups_bring_no_sends_together(postgres_server, tmp_path):
    figures = await shared_rate.measure(
        postgres_server.new_database(),
        tmp_path,
        per_second=20.0,
        seconds=4.0,
        source=shared_rate.SlowUsers(0.1, 0.9),
    )
    assert figures["beyond the rate"] == 0, figures
    assert figures["sent"] > 5, figures


async def test_messages_that_were_moved_on_get_their_turns_beside_a_long_queue(
    postgres_server, tmp_path, new
):
    """They are claimed already when they ask for a turn, and the queue takes every turn that it can get."""
    viber, sms = shared_rate.Provider(), shared_rate.Provider()
    instances = {
        "viber": Instance(InstanceSettings(name="viber", use="viber"), viber),
        "sms": Instance(InstanceSettings(name="sms", use="sms", per_second=PER_SECOND), sms),
    }
    rules = (
        Route(name="chat-first", use=("viber", "sms"), next_after=60.0, senders=("Codes",)),
        Route(name="campaign", use=("sms",)),
    )
    content = msgspec.msgpack.encode(SmsContent(text="Hello there"))
    async with open_outbox(Secret(postgres_server.new_database()), tmp_path, Policy()) as outbox:

        async def put_all(route, count):
            fields = {"channel": Channel.SMS, "route": route, "content": content, "callback_url": ""}
            found = [new(f"{route}-{number}", **fields) for number in range(count)]
            await asyncio.gather(*(outbox.put(message) for message in found))
            return {message.id for message in found}

        await put_all("campaign", 300)
        moved = await put_all("chat-first", 10)
        change = update(messages).where(messages.c.id.in_(moved)).values(passed="viber")
        await outbox._database.transact(lambda connection: connection.execute(change))
        worker = DeliveryWorker(
            msgspec.structs.replace(sms_settings(tmp_path), routes=Routes(sms=rules)),
            outbox=outbox,
            members={
                name: route_member(instance, clients=1, shared=True) for name, instance in instances.items()
            },
            contacts=Contacts(
                {"brand": [Instance(InstanceSettings(name="users", use="users"), Users())]}, 2.0, ""
            ),
            contact_cache=ContactCache(),
            metrics=Metrics(),
        )
        running = asyncio.create_task(worker.run())
        while len(sms.sends) < 150:  # noqa: ASYNC110  no event exists
            await asyncio.sleep(0.05)
        worker.stop()
        await running

    assert moved <= {message_id for _, message_id in sms.sends[:150]}
    assert not viber.sends
