"""Two gateways on one PostgreSQL: the bind that hears a receipt is never the one that sent the message."""

import asyncio
import random

import pytest

from gatepost_smpp.testing import SmppEmulator
from gateway.conftest import until
from torture.stores import Postgresql

MESSAGES = 20


class Centre(SmppEmulator):
    """A message centre that gives each receipt to a bind that did not send the message."""

    def __init__(self):
        super().__init__()
        self.senders = []
        # Hexadecimal in answers; decimal with leading zeros in receipts.
        self.ids = lambda number: (f"{number + 0xABC0:X}", f"{number + 0xABC0:012}")

    async def _answer(self, connection, packet):
        known = len(self.submissions)
        stays_open = await super()._answer(connection, packet)
        self.senders += [connection] * (len(self.submissions) - known)
        return stays_open

    async def binds(self, count):
        """Wait until so many binds are open."""
        await until(lambda: sum(one.is_bound for one in self.open) == count)

    async def deliver_elsewhere(self, submission):
        """Return the answer to the receipt."""
        (other,) = (one for one in self.open if one is not self.senders[submission.number - 1])
        return await self.deliver(self.receipt(submission), other)


@pytest.fixture
async def centre(deployment, postgres_server):
    deployment.tables["store"] = {"url": Postgresql(postgres_server).url}
    async with Centre() as centre:
        # Nothing but the message centre's id leads to the message.
        table = {key: value for key, value in centre.table.items() if key != "reference_tag"}
        deployment.tables["plugins.centre"] = {
            "use": "smpp",
            "receipt_ids": "decimal",
            "timeout": 60,
            **table,
        }
        yield centre


async def test_each_message_ends_once(deployment, centre, begin):
    messages = []
    for gateways in (1, 2):
        await begin(sms=["centre"])
        await centre.binds(gateways)
        # The first half is certainly the first gateway's.
        messages += [await deployment.sms(from_number="Amazing") for _ in range(MESSAGES)]
        for message in messages:
            await deployment.crm.wait_for(message, "accepted")
    # Each twice, in any order.
    receipts = 2 * centre.submissions
    random.Random(4711).shuffle(receipts)
    assert set(await asyncio.gather(*map(centre.deliver_elsewhere, receipts))) == {0}
    for message in messages:
        await deployment.hears(message, "accepted", "delivered")
    assert len(centre.submissions) == len(messages)


async def test_a_receipt_that_comes_before_the_answer(deployment, centre, begin, monkeypatch, set_ahead):
    # Longer than a slow machine needs; the loop's clock is put forward instead.
    monkeypatch.setattr("gatepost_smpp.deliveries._PAUSE", 40.0)
    await begin(sms=["centre"])
    await centre.binds(1)
    centre.answering.clear()
    message = await deployment.sms(from_number="Amazing")
    await until(lambda: centre.senders)
    async with deployment.running() as hearing:
        await centre.binds(2)
        delivering = asyncio.create_task(centre.deliver_elsewhere(centre.submissions[0]))
        unknown = "gatepost_reported_events_total", "unknown", "centre"

        async def is_heard():
            return (await hearing.metrics()).get(unknown)

        await until(is_heard)
        assert not delivering.done(), "it is acknowledged although its message is not known"
        centre.answering.set()
        await deployment.crm.wait_for(message, "accepted")
        set_ahead(50.0)
        assert await delivering == 0
        await deployment.hears(message, "accepted", "delivered")
