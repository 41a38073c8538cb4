"""The loop that reads the pauses."""

import asyncio

import pytest

from gatepost.errors import StoreBusy
from gatepost.model import Channel, Secret
from gatepost.outbox import Policy, Queue, open_outbox, pauses
from gatepost.outbox.pauses import PauseOrder, Scope
from gatepost.upkeep import pauses as loop


class BusyOnce:
    """An outbox whose store is busy at the first read."""

    def __init__(self):
        self.reads = 0
        self.read_again = asyncio.Event()

    async def read_pauses(self):
        self.reads += 1
        if self.reads == 1:
            raise StoreBusy("the disk is full")
        self.read_again.set()


@pytest.fixture(autouse=True)
def brisk(monkeypatch):
    monkeypatch.setattr(loop, "READ_INTERVAL", 0.001)


async def test_a_busy_store_does_not_end_the_loop():
    outbox = BusyOnce()
    following = asyncio.create_task(loop.follow_pauses(outbox))

    async with asyncio.timeout(60):
        await outbox.read_again.wait()

    following.cancel()
    await asyncio.wait([following])


async def test_a_pause_of_one_replica_holds_in_the_other_and_wakes_its_worker(postgres_server, tmp_path):
    url = Secret(postgres_server.new_database())
    async with open_outbox(url, tmp_path, Policy()) as one, open_outbox(url, tmp_path, Policy()) as other:
        other.queue_signals.take()
        other.queue_signals.event.clear()
        following = asyncio.create_task(loop.follow_pauses(other))

        await one.change(pauses.pause, PauseOrder(Scope(client="brand"), "maria"))
        async with asyncio.timeout(60):
            await other.queue_signals.event.wait()
        assert other.pauses(Queue(1, Channel.SMS, "sms", "brand"), "")

        following.cancel()
        await asyncio.wait([following])
