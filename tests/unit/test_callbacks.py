"""When a call is made again, whom it keeps waiting, and what becomes of it when the gateway stops."""

import asyncio
import itertools
from types import SimpleNamespace

import pytest

from gatepost import callbacks
from gatepost.errors import StoreBusy
from gatepost.metrics import Metrics
from gatepost.model import Channel, Secret
from gatepost.outbox import Called, NewMessage, Outcome, Policy, new_id, open_outbox
from gatepost.statuses import State
from gatepost.targets import Targets
from gatepost.wire import Reply

TRIES = len(callbacks.PAUSES) + 1


def later(_low, high):
    return high


def usual(attempt):
    return callbacks.pause(attempt, None, later)


def test_a_retry_after_never_shortens_a_pause():
    for attempt in range(1, TRIES):
        assert callbacks.pause(attempt, 1.0, later) == usual(attempt)
    assert usual(TRIES) is callbacks.pause(TRIES, 1.0, later) is None


@pytest.mark.parametrize("wish", [-5.0, 0.0, 1.0, 600.0, 40_000.0, 1e12])
def test_a_retry_after_lengthens_a_pause_up_to_the_longest(wish):
    pauses = [callbacks.pause(attempt, wish, lambda low, _high: low) for attempt in range(1, TRIES)]
    assert all(later >= earlier for earlier, later in itertools.pairwise(pauses))
    assert min(wish, 36_000.0) <= pauses[0] <= 36_000.0


class Hosts:
    """All callbacks' hosts: those in ``slow`` answer when they are let."""

    def __init__(self, *slow):
        self.slow = slow
        self.let = asyncio.Event()
        self.asked = []
        self.reached = asyncio.Event()
        self._more = asyncio.Event()

    async def were_asked(self, times):
        async with asyncio.timeout(60):
            while len(self.asked) < times:
                self._more.clear()
                await self._more.wait()

    async def get(self, target, _query):
        self.asked.append(target.host)
        self._more.set()
        if target.host in self.slow:
            self.reached.set()
            await self.let.wait()
        return Reply(status=200, headers={}, body=b"")


class Busy:
    """An outbox that takes the end of no call before it was asked so many times."""

    def __init__(self, outbox, times):
        self.outbox = outbox
        self.times = times
        self.refused = asyncio.Event()

    def __getattr__(self, name):
        return getattr(self.outbox, name)

    async def finish_call(self, called):
        if self.times > 0:
            self.times -= 1
            self.refused.set()
            raise StoreBusy("the disk is full")
        return await self.outbox.finish_call(called)


@pytest.fixture
async def outbox(tmp_path):
    async with open_outbox(Secret("sqlite:///box.db"), tmp_path, Policy()) as outbox:
        yield outbox


@pytest.fixture
def callbacks_of():
    def make(outbox, hosts):
        client = SimpleNamespace(callback_api_key=Secret("key"))
        return callbacks.Callbacks(
            SimpleNamespace(clients={"brand": client}),
            outbox=outbox,
            targets={"brand": Targets(["*.example"], allow_private=False)},
            caller=hosts,
            metrics=Metrics(),
        )

    return make


async def accepted(outbox, host="crm.example"):
    """A message that a provider took: one status is to be told."""
    identity = new_id()
    await outbox.put(
        NewMessage(
            id=identity,
            client="brand",
            channel=Channel.EMAIL,
            uid=identity,
            fingerprint=b"",
            ext_user_id="anna",
            preview="",
            callback_url=f"https://{host}/status",
            content=b"content",
            lifetime=60.0,
        )
    )
    (claim,) = await outbox.claim(Channel.EMAIL, 1, 30.0)
    await outbox.finish(Outcome(id=claim.id, attempt=claim.attempt, state=State.SENT))


async def test_a_call_that_the_stop_cuts_off_is_due_at_once_and_is_no_try(outbox, callbacks_of):
    await accepted(outbox)
    for _ in range(TRIES - 1):
        (call,) = await outbox.claim_calls(1, 45.0)
        await outbox.finish_call(Called(seq=call.seq, attempt=call.attempt, told=False, retry_in=0.0))
    hosts = Hosts("crm.example")
    running = asyncio.create_task(callbacks_of(outbox, hosts).run())
    await hosts.reached.wait()

    running.cancel()
    await asyncio.wait([running])

    (call,) = await outbox.claim_calls(1, 45.0)
    assert call.attempt == TRIES


async def test_the_end_of_a_call_is_recorded_although_the_store_is_busy_at_the_stop(outbox, callbacks_of):
    await accepted(outbox)
    hosts, busy = Hosts("crm.example"), Busy(outbox, 3)
    calling = callbacks_of(busy, hosts)
    running = asyncio.create_task(calling.run())
    await hosts.reached.wait()

    calling.stop()
    hosts.let.set()
    await running

    await outbox.orphan_all()  # what was not recorded would be due now
    assert await outbox.claim_calls(9, 45.0) == []
    assert hosts.asked == ["crm.example"]


@pytest.mark.parametrize("during", ["the call", "its recording"])
async def test_a_store_that_stays_busy_does_not_outlast_the_drain(outbox, callbacks_of, during):
    await accepted(outbox)
    hosts, busy = Hosts("crm.example"), Busy(outbox, float("inf"))
    calling = callbacks_of(busy, hosts)
    running = asyncio.create_task(calling.run())
    await hosts.reached.wait()
    calling.stop()
    if during == "its recording":
        hosts.let.set()
        await busy.refused.wait()

    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_cut_off_recording_gets_a_last_chance(outbox, callbacks_of):
    await accepted(outbox)
    hosts, busy = Hosts(), Busy(outbox, 1)
    running = asyncio.create_task(callbacks_of(busy, hosts).run())
    await busy.refused.wait()

    running.cancel()
    await asyncio.wait([running])

    await outbox.orphan_all()  # what was not recorded would be due now
    assert await outbox.claim_calls(9, 45.0) == []


async def test_a_slow_host_keeps_no_other_waiting(outbox, callbacks_of):
    for _ in range(callbacks.AT_ONCE + 8):
        await accepted(outbox, "slow.example")
    await accepted(outbox, "crm.example")
    hosts = Hosts("slow.example")
    calling = callbacks_of(outbox, hosts)
    running = asyncio.create_task(calling.run())
    most = callbacks.AT_ONCE - callbacks.KEPT_FREE
    await hosts.were_asked(most + 1)
    asked = list(hosts.asked)
    hosts.let.set()

    assert (asked.count("slow.example"), asked.count("crm.example")) == (most, 1)
    await hosts.were_asked(callbacks.AT_ONCE + 9)
    calling.stop()
    await running
    assert await outbox.claim_calls(9, 45.0) == []


async def test_many_slow_hosts_keep_no_other_waiting(outbox, callbacks_of):
    """Each of them answers at last, so that none is ever given a rest."""
    slow = [f"slow{number}.example" for number in range(callbacks.KEPT_FREE // 2)]
    for host in slow:
        for _ in range(callbacks.AT_ONCE):
            await accepted(outbox, host)
    for _ in range(20):
        await accepted(outbox, "crm.example")
    hosts = Hosts(*slow)
    calling = callbacks_of(outbox, hosts)
    running = asyncio.create_task(calling.run())
    async with asyncio.timeout(60):
        while hosts.asked.count("crm.example") < 20:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert len(hosts.asked) - 20 <= callbacks.AT_ONCE - callbacks.KEPT_FREE + len(slow)
    running.cancel()
    await asyncio.wait([running])
