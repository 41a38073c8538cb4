"""The callback worker: retries, delays for other callbacks, and the stop of the gateway."""

import asyncio
import itertools
from types import SimpleNamespace

import pytest

from claiming import claim_callbacks, claim_due, finish_callback
from gatepost import throttle
from gatepost.callback_urls import CallbackUrlPolicy
from gatepost.callbacks import attempt as callback_attempt
from gatepost.callbacks import claim_planner
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
    cancellations,
    message_search,
    new_id,
    open_outbox,
    polling,
)
from gatepost.outbox.driver_errors import StatementRefused
from gatepost.outbox.message_filter import MessageFilter
from gatepost.outbox.states import State
from gatepost.wire import Reply

ATTEMPTS = len(callback_attempt.RETRY_DELAYS) + 1
SLOW = [f"slow.example:{port}" for port in range(1, 401)]
QUICK = [f"quick{number}.example" for number in range(20)]


def later(_low, high):
    return high


def usual(attempt):
    return callback_attempt.retry_delay(attempt, None, later)


def test_a_retry_after_never_shortens_a_delay():
    for attempt in range(1, ATTEMPTS):
        assert callback_attempt.retry_delay(attempt, 1.0, later) == usual(attempt)
    assert usual(ATTEMPTS) is callback_attempt.retry_delay(ATTEMPTS, 1.0, later) is None


@pytest.mark.parametrize("retry_after", [-5.0, 0.0, 1.0, 600.0, 40_000.0, 1e12])
def test_a_retry_after_lengthens_a_delay_up_to_the_longest(retry_after):
    delays = [
        callback_attempt.retry_delay(attempt, retry_after, lambda low, _high: low)
        for attempt in range(1, ATTEMPTS)
    ]
    assert all(later >= earlier for earlier, later in itertools.pairwise(delays))
    assert min(retry_after, 36_000.0) <= delays[0] <= 36_000.0


class Hosts:
    """The hosts of all callbacks; those in ``slow`` answer only after ``answer_now`` is set."""

    def __init__(self, *slow):
        self.slow = slow
        self.answer_now = asyncio.Event()
        self.called = []
        self.answered = set()
        self.reached = asyncio.Event()
        self._more = asyncio.Event()

    async def wait_for_calls(self, times):
        async with asyncio.timeout(60):
            while len(self.called) < times:
                self._more.clear()
                await self._more.wait()

    async def wait_for_all(self, hosts):
        wanted = set(hosts)
        async with asyncio.timeout(60):
            while not wanted <= set(self.called):
                self._more.clear()
                await self._more.wait()

    async def get(self, target, _query):
        self.called.append(target.host)
        self._more.set()
        if target.host in self.slow:
            self.reached.set()
            await self.answer_now.wait()
        self.answered.add(target.host)
        return Reply(status=200, headers={}, body=b"")


class RefusingOutbox:
    """An outbox that refuses each set of results that has the result of the first call."""

    def __init__(self, outbox):
        self.outbox = outbox
        self.refused = []
        self.repeated = asyncio.Event()

    def __getattr__(self, name):
        return getattr(self.outbox, name)

    async def finish_callbacks(self, ended):
        results = ended()
        if any(one.seq == 1 for one in results):
            self.refused.append(len(results))
            if self.refused.count(1) > 1:
                self.repeated.set()
            raise StatementRefused("a character that the database can't store")
        return await self.outbox.finish_callbacks(lambda: results)


class BusyOutbox:
    """An outbox that refuses the first ``times`` results of calls."""

    def __init__(self, outbox, times):
        self.outbox = outbox
        self.times = times
        self.refused = asyncio.Event()

    def __getattr__(self, name):
        return getattr(self.outbox, name)

    async def finish_callbacks(self, ended):
        if self.times > 0:
            self.times -= 1
            ended()
            self.refused.set()
            raise StoreBusy("the disk is full")
        return await self.outbox.finish_callbacks(ended)


@pytest.fixture
async def outbox(tmp_path):
    async with open_outbox(Secret("sqlite:///box.db"), tmp_path, Policy()) as outbox:
        yield outbox


@pytest.fixture
def worker_of():
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


async def store_messages(outbox, *hosts, client="brand"):
    """Store a message for each host, with one status to send to it."""
    messages = await put_messages(outbox, *hosts, client=client)
    claims = await claim_due(outbox, Channel.EMAIL, len(messages), 30.0)
    ends = [SendResult(id=claim.id, attempt=claim.attempt, state=State.SENT) for claim in claims]
    await asyncio.gather(*(outbox.finish(end) for end in ends))


async def put_messages(outbox, *hosts, client):
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
    return messages


async def test_a_call_interrupted_by_the_stop_is_due_at_once_and_not_counted(outbox, worker_of):
    await store_messages(outbox)
    for _ in range(ATTEMPTS - 1):
        (call,) = await claim_callbacks(outbox, 1, 45.0)
        await finish_callback(
            outbox, CallbackResult(seq=call.seq, attempt=call.attempt, acknowledged=False, retry_in=0.0)
        )
    hosts = Hosts("crm.example")
    running = asyncio.create_task(worker_of(outbox, hosts).run())
    await hosts.reached.wait()

    running.cancel()
    await asyncio.wait([running])

    (call,) = await claim_callbacks(outbox, 1, 45.0)
    assert call.attempt == ATTEMPTS


async def test_a_result_is_recorded_although_the_store_is_busy_at_the_stop(outbox, worker_of):
    await store_messages(outbox)
    hosts, busy = Hosts("crm.example"), BusyOutbox(outbox, 3)
    worker = worker_of(busy, hosts)
    running = asyncio.create_task(worker.run())
    await hosts.reached.wait()

    worker.stop()
    hosts.answer_now.set()
    await running

    await outbox.expire_all_claims()  # a call that was not recorded would be due now
    assert await claim_callbacks(outbox, 9, 45.0) == []
    assert hosts.called == ["crm.example"]


@pytest.mark.parametrize("during", ["the call", "its recording"])
async def test_a_busy_store_does_not_delay_the_end_of_the_stop(outbox, worker_of, during):
    await store_messages(outbox)
    hosts, busy = Hosts("crm.example"), BusyOutbox(outbox, float("inf"))
    worker = worker_of(busy, hosts)
    running = asyncio.create_task(worker.run())
    await hosts.reached.wait()
    worker.stop()
    if during == "its recording":
        hosts.answer_now.set()
        await busy.refused.wait()

    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_result_that_is_not_recorded_at_the_stop_is_tried_once_more(outbox, worker_of):
    await store_messages(outbox)
    hosts, busy = Hosts(), BusyOutbox(outbox, 1)
    running = asyncio.create_task(worker_of(busy, hosts).run())
    await busy.refused.wait()

    running.cancel()
    await asyncio.wait([running])

    await outbox.expire_all_claims()  # a call that was not recorded would be due now
    assert await claim_callbacks(outbox, 9, 45.0) == []


async def test_a_result_that_the_store_refuses_does_not_keep_others_from_being_recorded(outbox, worker_of):
    await store_messages(outbox, *["crm.example"] * 8)
    hosts, refusing = Hosts("crm.example"), RefusingOutbox(outbox)
    running = asyncio.create_task(worker_of(refusing, hosts).run())
    await hosts.wait_for_calls(8)
    hosts.answer_now.set()
    async with asyncio.timeout(60):
        await refusing.repeated.wait()

    running.cancel()
    await asyncio.wait([running])

    assert refusing.refused[0] > 1
    await outbox.expire_all_claims()
    assert [call.seq for call in await claim_callbacks(outbox, 9, 45.0)] == [1]


async def test_a_result_that_the_store_refuses_at_the_stop_is_the_only_one_not_recorded(outbox, worker_of):
    await store_messages(outbox, *["crm.example"] * 8)
    hosts, refusing = Hosts("crm.example"), RefusingOutbox(outbox)
    running = asyncio.create_task(worker_of(refusing, hosts).run())
    await hosts.wait_for_calls(8)

    running.cancel()
    await asyncio.wait([running])

    assert refusing.refused == [8, 1]
    due = await claim_callbacks(outbox, 9, 45.0)
    assert sorted((call.seq, call.attempt) for call in due) == [(seq, 1) for seq in range(2, 9)]


class NotingOutbox:
    """An outbox that notes the order of the calls to it."""

    def __init__(self, outbox):
        self.outbox = outbox
        self.calls = []
        self.called = asyncio.Event()

    def __getattr__(self, name):
        return getattr(self.outbox, name)

    async def claim_callbacks(self, plan):
        self._note("claim")
        return await self.outbox.claim_callbacks(plan)

    async def finish_callbacks(self, ended):
        self._note("finish")
        return await self.outbox.finish_callbacks(ended)

    async def wait_for_calls(self, times):
        async with asyncio.timeout(60):
            while len(self.calls) < times:
                self.called.clear()
                await self.called.wait()

    def _note(self, name):
        self.calls.append(name)
        self.called.set()


async def test_a_result_comes_to_the_store_before_the_claim_of_the_next_status(
    outbox, worker_of, monkeypatch
):
    """Otherwise a transaction may begin between the two, and the next status waits for the next poll."""
    monkeypatch.setattr(polling, "POLL_INTERVAL", 3600.0)
    await store_messages(outbox)
    hosts, noting = Hosts("crm.example"), NotingOutbox(outbox)
    running = asyncio.create_task(worker_of(noting, hosts).run())
    await hosts.reached.wait()
    await noting.wait_for_calls(2)

    hosts.answer_now.set()
    await noting.wait_for_calls(4)

    assert noting.calls == ["claim", "claim", "finish", "claim"]
    running.cancel()
    await asyncio.wait([running])


async def test_a_slow_target_does_not_delay_other_targets_of_its_client(outbox, worker_of):
    await store_messages(outbox, *["slow.example"] * claim_planner.MAX_CALLS)
    await store_messages(outbox, *QUICK)
    hosts = Hosts("slow.example")
    running = asyncio.create_task(worker_of(outbox, hosts).run())

    await hosts.wait_for_all(QUICK)

    assert hosts.answered.isdisjoint({"slow.example"})
    running.cancel()
    await asyncio.wait([running])


class WatchedOutbox:
    """An outbox that notices when no more calls are claimed for the client ``other``: it has its whole share."""

    def __init__(self, outbox):
        self.outbox = outbox
        self.settled = asyncio.Event()
        self._in_a_row = 0

    def __getattr__(self, name):
        return getattr(self.outbox, name)

    async def claim_callbacks(self, plan):
        def watched_plan():
            requests = plan()
            clients = {one.client for one in requests}
            self._in_a_row = 0 if "other" in clients else self._in_a_row + ("brand" in clients)
            # Twice is not enough: the two clients take turns in being the first of a round.
            if self._in_a_row > 2:
                self.settled.set()
            return requests

        return await self.outbox.claim_callbacks(watched_plan)


@pytest.mark.parametrize("tripped", [False, True])
async def test_many_slow_targets_do_not_delay_another_client(outbox, worker_of, monkeypatch, tripped):
    """Whether they are called for the first time or probed, each call hangs until ``answer_now``."""
    monkeypatch.setattr(polling, "POLL_INTERVAL", 0.01)
    monkeypatch.setattr(callback_slots, "RECHECK_INTERVAL", 0.0)
    await store_messages(outbox, *SLOW, client="other")
    hosts, watched = Hosts("slow.example"), WatchedOutbox(outbox)
    worker = worker_of(watched, hosts, "other", "brand")
    slots = worker._planner.slots["other"]
    for target, _ in itertools.product(SLOW, range(throttle.FAILURE_THRESHOLD if tripped else 0)):
        slots.begin(target, 0.0)
        slots.end(target, 0.0, Unavailable("down"))
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(60):
        await watched.settled.wait()
    assert len(hosts.called) <= claim_planner.MAX_CALLS * 3 // 4

    await store_messages(outbox, *QUICK)
    await hosts.wait_for_all(QUICK)

    assert hosts.answered.isdisjoint({"slow.example"})
    running.cancel()
    await asyncio.wait([running])


async def test_the_callbacks_of_a_cancelled_campaign_do_not_delay_another_client(outbox, worker_of):
    await put_messages(outbox, *["campaign.example"] * 3_000, client="other")
    progress = None
    while progress is None or not progress.done:
        order = cancellations.CancelStep(MessageFilter(client="other"), "maria", "", progress)
        progress = await outbox.cancel(cancellations.cancel, order)
    assert progress.found == 3_000
    hosts = Hosts()
    running = asyncio.create_task(worker_of(outbox, hosts, "other", "brand").run())
    await hosts.wait_for_calls(500)

    await store_messages(outbox)
    before = len(hosts.called)
    await hosts.wait_for_all(["crm.example"])

    assert hosts.called.index("crm.example") <= before + 3 * claim_planner.MAX_CALLS
    running.cancel()
    await asyncio.wait([running])


async def test_callbacks_of_a_removed_client_fail_and_delay_no_others(outbox, worker_of):
    await store_messages(outbox, client="removed")
    await store_messages(outbox)
    hosts = Hosts()
    worker = worker_of(outbox, hosts)
    running = asyncio.create_task(worker.run())
    await hosts.wait_for_calls(1)
    worker.stop()
    await running

    assert hosts.called == ["crm.example"]
    found = await outbox._database.transact(
        lambda at: message_search.find(at, MessageFilter(client="removed"))
    )
    (view,) = found.messages
    assert (view.statuses[0].attempts, view.statuses[0].problem) == (1, "the client is no longer configured")


class SlowOutbox:
    """An outbox in which a claim that finds nothing ends after all calls in flight."""

    def __init__(self, outbox, hosts):
        self.outbox = outbox
        self.hosts = hosts
        self.in_flight = ()

    def __getattr__(self, name):
        return getattr(self.outbox, name)

    async def claim_callbacks(self, plan):
        requests = []

        def noted_plan():
            requests.extend(plan())
            return requests

        claimed = await self.outbox.claim_callbacks(noted_plan)
        if any(one.excluded_targets and not calls for one, calls in zip(requests, claimed, strict=True)):
            self.hosts.answer_now.set()
            if self.in_flight:
                await asyncio.wait(self.in_flight)
        return claimed


async def test_calls_that_end_during_a_claim_are_followed_by_others_at_once(outbox, worker_of, monkeypatch):
    """With a pause the test would time out."""
    monkeypatch.setattr(callback_slots, "RECHECK_INTERVAL", 3600.0)
    await store_messages(outbox, *["slow.example"] * claim_planner.MAX_CALLS)
    hosts = Hosts("slow.example")
    slow_outbox = SlowOutbox(outbox, hosts)
    worker = worker_of(slow_outbox, hosts)
    slow_outbox.in_flight = worker._calls
    running = asyncio.create_task(worker.run())
    await hosts.wait_for_calls(claim_planner.MAX_CALLS)
    worker.stop()
    await running
