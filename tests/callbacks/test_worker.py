"""When a call is made again, whom it keeps waiting, and what becomes of it when the gateway stops."""

import asyncio
import itertools
from types import SimpleNamespace

import pytest

from gatepost import throttle
from gatepost.callback_urls import CallbackUrlPolicy
from gatepost.callbacks import attempt as callback_attempt
from gatepost.callbacks import slots as callback_slots
from gatepost.callbacks import worker as callback_worker
from gatepost.errors import StoreBusy, Unavailable
from gatepost.model import Channel, Secret
from gatepost.observe.metrics import Metrics
from gatepost.outbox import (
    CallbackResult,
    NewMessage,
    Policy,
    SendResult,
    new_id,
    open_outbox,
    polling,
    queries,
)
from gatepost.outbox.states import State
from gatepost.wire import Reply

TRIES = len(callback_attempt.RETRY_DELAYS) + 1
SLOW = [f"slow.example:{port}" for port in range(1, 401)]
QUICK = [f"quick{number}.example" for number in range(20)]


def later(_low, high):
    return high


def usual(attempt):
    return callback_attempt.retry_delay(attempt, None, later)


def test_a_retry_after_never_shortens_a_pause():
    for attempt in range(1, TRIES):
        assert callback_attempt.retry_delay(attempt, 1.0, later) == usual(attempt)
    assert usual(TRIES) is callback_attempt.retry_delay(TRIES, 1.0, later) is None


@pytest.mark.parametrize("wish", [-5.0, 0.0, 1.0, 600.0, 40_000.0, 1e12])
def test_a_retry_after_lengthens_a_pause_up_to_the_longest(wish):
    pauses = [
        callback_attempt.retry_delay(attempt, wish, lambda low, _high: low) for attempt in range(1, TRIES)
    ]
    assert all(later >= earlier for earlier, later in itertools.pairwise(pauses))
    assert min(wish, 36_000.0) <= pauses[0] <= 36_000.0


class Hosts:
    """All callbacks' hosts: those in ``slow`` answer when they are let."""

    def __init__(self, *slow):
        self.slow = slow
        self.let = asyncio.Event()
        self.asked = []
        self.answered = set()
        self.reached = asyncio.Event()
        self._more = asyncio.Event()

    async def were_asked(self, times):
        async with asyncio.timeout(60):
            while len(self.asked) < times:
                self._more.clear()
                await self._more.wait()

    async def all_asked(self, hosts):
        wanted = set(hosts)
        async with asyncio.timeout(20):
            while not wanted <= set(self.asked):
                self._more.clear()
                await self._more.wait()

    async def get(self, target, _query):
        self.asked.append(target.host)
        self._more.set()
        if target.host in self.slow:
            self.reached.set()
            await self.let.wait()
        self.answered.add(target.host)
        return Reply(status=200, headers={}, body=b"")


class Busy:
    """An outbox that takes the end of no call before it was asked so many times."""

    def __init__(self, outbox, times):
        self.outbox = outbox
        self.times = times
        self.refused = asyncio.Event()

    def __getattr__(self, name):
        return getattr(self.outbox, name)

    async def finish_callback(self, callback_result):
        if self.times > 0:
            self.times -= 1
            self.refused.set()
            raise StoreBusy("the disk is full")
        return await self.outbox.finish_callback(callback_result)


@pytest.fixture
async def outbox(tmp_path):
    async with open_outbox(Secret("sqlite:///box.db"), tmp_path, Policy()) as outbox:
        yield outbox


@pytest.fixture
def callbacks_of():
    def make(outbox, hosts, *clients):
        client = SimpleNamespace(callback_api_key=Secret("key"))
        return callback_worker.CallbackWorker(
            SimpleNamespace(clients=dict.fromkeys(clients or ["brand"], client)),
            outbox=outbox,
            url_policies=dict.fromkeys(
                clients or ["brand"], CallbackUrlPolicy(["*.example"], allow_private=False)
            ),
            callback_client=hosts,
            metrics=Metrics(),
        )

    return make


async def accepted(outbox, *hosts, client="brand"):
    """A message for each host that a provider took: one status of each is to be told."""
    messages = []
    for host in hosts or ["crm.example"]:
        identity = new_id()
        message = NewMessage(
            id=identity,
            client=client,
            channel=Channel.EMAIL,
            uid=identity,
            fingerprint=b"",
            ext_user_id="anna",
            preview="",
            callback_url=f"https://{host}/status",
            content=b"content",
            lifetime=60.0,
        )
        messages.append(message)
    await asyncio.gather(*(outbox.put(message) for message in messages))
    claims = await outbox.claim(Channel.EMAIL, len(messages), 30.0)
    ends = [SendResult(id=claim.id, attempt=claim.attempt, state=State.SENT) for claim in claims]
    await asyncio.gather(*(outbox.finish(end) for end in ends))


async def test_a_call_that_the_stop_cuts_off_is_due_at_once_and_is_no_try(outbox, callbacks_of):
    await accepted(outbox)
    for _ in range(TRIES - 1):
        (call,) = await outbox.claim_callbacks(1, 45.0)
        await outbox.finish_callback(
            CallbackResult(seq=call.seq, attempt=call.attempt, acknowledged=False, retry_in=0.0)
        )
    hosts = Hosts("crm.example")
    running = asyncio.create_task(callbacks_of(outbox, hosts).run())
    await hosts.reached.wait()

    running.cancel()
    await asyncio.wait([running])

    (call,) = await outbox.claim_callbacks(1, 45.0)
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
    assert await outbox.claim_callbacks(9, 45.0) == []
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
    assert await outbox.claim_callbacks(9, 45.0) == []


async def test_a_slow_target_keeps_no_other_of_its_client_waiting(outbox, callbacks_of):
    await accepted(outbox, *["slow.example"] * callback_worker.MAX_CALLS)
    await accepted(outbox, *QUICK)
    hosts = Hosts("slow.example")
    running = asyncio.create_task(callbacks_of(outbox, hosts).run())

    await hosts.all_asked(QUICK)

    assert hosts.answered.isdisjoint({"slow.example"})
    running.cancel()
    await asyncio.wait([running])


class Watched:
    """An outbox that says when the client ``other`` was not asked for any more: it has all that it may have."""

    def __init__(self, outbox):
        self.outbox = outbox
        self.settled = asyncio.Event()
        self._in_a_row = 0

    def __getattr__(self, name):
        return getattr(self.outbox, name)

    async def claim_callbacks(self, most, lease, *, client, **which):
        self._in_a_row = 0 if client == "other" else self._in_a_row + (client == "brand")
        # Twice is no sign: the two take turns in who is the first of a round.
        if self._in_a_row > 2:
            self.settled.set()
        return await self.outbox.claim_callbacks(most, lease, client=client, **which)


@pytest.mark.parametrize("tripped", [False, True])
async def test_as_many_slow_targets_as_there_can_be_keep_no_other_client_waiting(
    outbox, callbacks_of, monkeypatch, tripped
):
    """Whether they are called for the first time or probed: each hangs, and holds a call until it is let."""
    monkeypatch.setattr(polling, "POLL_INTERVAL", 0.01)
    monkeypatch.setattr(callback_slots, "RECHECK_INTERVAL", 0.0)
    await accepted(outbox, *SLOW, client="other")
    hosts, watched = Hosts("slow.example"), Watched(outbox)
    calling = callbacks_of(watched, hosts, "other", "brand")
    slots = calling._slots["other"]
    for target, _ in itertools.product(SLOW, range(throttle.FAILURE_THRESHOLD if tripped else 0)):
        slots.begin(target, 0.0)
        slots.end(target, 0.0, Unavailable("down"))
    running = asyncio.create_task(calling.run())
    async with asyncio.timeout(20):
        await watched.settled.wait()
    assert len(hosts.asked) <= callback_worker.MAX_CALLS * 3 // 4

    await accepted(outbox, *QUICK)
    await hosts.all_asked(QUICK)

    assert hosts.answered.isdisjoint({"slow.example"})
    running.cancel()
    await asyncio.wait([running])


async def test_what_is_to_be_told_for_a_client_that_is_gone_is_tried_and_holds_up_nobody(
    outbox, callbacks_of
):
    await accepted(outbox, client="gone")
    await accepted(outbox)
    hosts = Hosts()
    calling = callbacks_of(outbox, hosts)
    running = asyncio.create_task(calling.run())
    await hosts.were_asked(1)
    calling.stop()
    await running

    assert hosts.asked == ["crm.example"]
    (view,) = await outbox._database.transact(lambda at: queries.list_messages(at, only={"client": "gone"}))
    assert (view.statuses[0].tries, view.statuses[0].problem) == (1, "the client is no longer configured")


class LateAnswers:
    """An outbox whose claim that finds nothing is answered when all calls under way have ended."""

    def __init__(self, outbox, hosts):
        self.outbox = outbox
        self.hosts = hosts
        self.under_way = ()

    def __getattr__(self, name):
        return getattr(self.outbox, name)

    async def claim_callbacks(self, most, lease, *, client, **which):
        calls = await self.outbox.claim_callbacks(most, lease, client=client, **which)
        if which["resting"] and not calls:
            self.hosts.let.set()
            if self.under_way:
                await asyncio.wait(self.under_way)
        return calls


async def test_calls_that_end_while_a_claim_is_under_way_are_followed_by_others(
    outbox, callbacks_of, monkeypatch
):
    """A pause would last longer than the test."""
    monkeypatch.setattr(callback_slots, "RECHECK_INTERVAL", 3600.0)
    await accepted(outbox, *["slow.example"] * callback_worker.MAX_CALLS)
    hosts = Hosts("slow.example")
    late = LateAnswers(outbox, hosts)
    calling = callbacks_of(late, hosts)
    late.under_way = calling._calling
    running = asyncio.create_task(calling.run())
    await hosts.were_asked(callback_worker.MAX_CALLS)
    calling.stop()
    await running
