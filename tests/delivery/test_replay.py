"""Repeats of a send whose outcome is uncertain, on a clock that moves only while all tasks wait."""

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest

from gatepost.config.settings import InstanceSettings
from gatepost.contacts.lookup import ContactCache, Contacts
from gatepost.content import SmsContent
from gatepost.delivery import failover, replay
from gatepost.delivery.routes import RouteMember
from gatepost.delivery.worker import DeliveryWorker
from gatepost.errors import Rejected, StoreBusy, Unavailable, Uncertain
from gatepost.hookspecs import hookimpl
from gatepost.model import Channel, Receipt, Secret
from gatepost.observe.metrics import Metrics
from gatepost.outbox import Policy, RetryOrder, open_outbox, pauses, queries
from gatepost.outbox.pauses import PauseOrder, Scope
from gatepost.outbox.turns import shared_rate
from gatepost.plugin_host.instances import Instance
from gatepost.throttle import Throttle
from gatepost.upkeep.housekeeping import run_housekeeping
from torture.fast_forward import FastForward
from torture.outage import Users, sms_settings

START = 1_800_000_000.0
LOST = Uncertain("the answer was lost")
DOWN = Unavailable("down")


@pytest.fixture
def anyio_backend():
    return "asyncio", {"loop_factory": FastForward}


class Provider:
    """A provider that gives one answer after the other; the last one stays."""

    replay_safe = 900.0

    def __init__(self, *answers, takes=0.0):
        self.answers = [*answers]
        self.takes = takes
        self.calls = []
        """For each call its time and the message."""
        self.in_progress = self.most_in_progress = 0

    @hookimpl
    async def send_sms(self, message):
        self.calls.append((asyncio.get_running_loop().time(), message))
        self.in_progress += 1
        self.most_in_progress = max(self.most_in_progress, self.in_progress)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        try:
            await asyncio.sleep(self.takes)
        finally:
            self.in_progress -= 1
        if callable(answer):
            answer = await answer()
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def times(self):
        return [moment for moment, _ in self.calls]

    @property
    def keys(self):
        return [message.idempotency_key for _, message in self.calls]


class Unsafe(Provider):
    replay_safe = 0.0


class Gateway:
    """A delivery worker with its outbox."""

    def __init__(self, outbox, worker, metrics, members):
        self.outbox = outbox
        self.worker = worker
        self.metrics = metrics
        self.members = members

    async def put(self, new, *uids, **fields):
        content = msgspec.msgpack.encode(SmsContent(text="Hello there"))
        ids = []
        for uid in uids or ("uid-1",):
            message = new(uid, channel=Channel.SMS, route="sms", content=content, callback_url="", **fields)
            await self.outbox.put(message)
            ids.append(message.id)
        return ids if len(ids) > 1 else ids[0]

    async def view(self, identity):
        found = await self.outbox._database.transact(
            lambda connection: queries.find_messages(connection, identity)
        )
        return found[0]

    async def until(self, identity, *states, step=0.25):
        while (view := await self.view(identity)).state not in states:  # noqa: ASYNC110  no event exists
            await asyncio.sleep(step)
        return view


def member(name, plugin, timeout=10.0, rate=None, concurrency=4, per_second=0.0):
    instance = Instance(InstanceSettings(name=name, use=name, timeout=timeout), plugin)
    return RouteMember(instance, Throttle(concurrency=concurrency, per_second=per_second), rate)


@pytest.fixture
def gateway(tmp_path):
    """Return a function that runs a gateway whose route has these members."""

    @asynccontextmanager
    async def run(*members):
        loop = asyncio.get_running_loop()
        async with open_outbox(
            Secret("sqlite:///outbox.db"), tmp_path, Policy(), clock=lambda: START + loop.time()
        ) as outbox:
            metrics, cache = Metrics(), ContactCache()
            source = Instance(InstanceSettings(name="users", use="users"), Users())
            worker = DeliveryWorker(
                sms_settings(tmp_path, *(one.name for one in members)),
                outbox=outbox,
                members={one.name: one for one in members},
                contacts=Contacts({"brand": [source]}, 2.0, ""),
                contact_cache=cache,
                metrics=metrics,
                clock=loop.time,
            )
            tasks = [
                asyncio.create_task(worker.run()),
                asyncio.create_task(run_housekeeping(outbox, cache, frozenset)),
            ]
            try:
                yield Gateway(outbox, worker, metrics, {one.name: one for one in members})
            finally:
                worker.stop()
                tasks[1].cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            assert [one.throttle.slots_used for one in members] == [0] * len(members)

    return run


def outcomes(view):
    return [(one.instance, one.outcome) for one in view.tries]


async def test_a_lost_answer_is_repeated_with_the_very_same_message(gateway, new):
    provider = Provider(LOST, Receipt("id-1"))
    async with gateway(member("safe", provider)) as running:
        identity = await running.put(new)
        view = await running.until(identity, "sent")

    (first_at, first), (second_at, second) = provider.calls
    assert msgspec.structs.asdict(first) == msgspec.structs.asdict(second)
    assert first.idempotency_key == f"{identity}-1"
    assert 0.25 <= second_at - first_at <= 0.5
    assert outcomes(view) == [("safe", "uncertain"), ("safe", "sent")]
    assert [one.choice for one in view.tries] == ["", failover.REPEATED]
    assert [one.attempt for one in view.tries] == [1, 1]
    assert view.tries[1].started_at - view.tries[0].started_at == pytest.approx(
        second_at - first_at, abs=0.01
    )
    assert (view.attempts, view.tries[1].provider_id) == (1, "id-1")
    count = running.metrics.sends.labels
    assert [count("safe", one)._value.get() for one in ("uncertain", "sent")] == [1, 1]


async def test_another_instance_gets_another_key(gateway, new):
    """Both may be of one account, where the same key with other bytes, such as another sender, would be refused."""
    first, second = Provider(DOWN), Provider(LOST, Receipt())
    async with gateway(member("first", first), member("second", second)) as running:
        identity = await running.put(new)
        await running.until(identity, "sent")

    assert first.keys == [f"{identity}-1"]
    assert len(second.keys) == 2
    assert len(set(second.keys)) == 1
    assert second.keys[0] != first.keys[0]
    assert len(second.keys[0]) <= 64


async def test_after_a_few_repeats_it_is_uncertain_as_usual(gateway, new):
    provider = Provider(LOST)
    async with gateway(member("safe", provider, concurrency=1)) as running:
        identity = await running.put(new)
        view = await running.until(identity, "uncertain")
        assert outcomes(view) == [("safe", "uncertain")] * (1 + len(replay.PAUSES))
        assert provider.times[-1] <= sum(replay.PAUSES) + 1.0
        # The usual way: after the wait for a report once more, with another key, and then it is held.
        view = await running.until(identity, "held", step=5.0)

    first, second = f"{identity}-1", f"{identity}-2"
    assert [provider.keys.count(key) for key in (first, second)] == [5, provider.keys.count(second)]
    assert 1 <= provider.keys.count(second) <= 5
    assert set(provider.keys) == {first, second}
    assert view.attempts == 2


async def test_without_the_declaration_nothing_is_repeated(gateway, new):
    provider = Unsafe(LOST)
    async with gateway(member("unsafe", provider)) as running:
        identity = await running.put(new)
        view = await running.until(identity, "uncertain")

    assert outcomes(view) == [("unsafe", "uncertain")]


@pytest.mark.parametrize("error", [RuntimeError("odd"), LOST])
async def test_a_violation_is_repeated_as_any_uncertain_answer(gateway, new, error):
    provider = Provider(error, Receipt())
    async with gateway(member("safe", provider)) as running:
        await running.until(await running.put(new), "sent")

    assert len(provider.calls) == 2


@pytest.mark.parametrize("error", [DOWN, Rejected("no")])
async def test_other_answers_are_not_repeated(gateway, new, error):
    provider = Provider(error, Receipt())
    async with gateway(member("safe", provider)) as running:
        identity = await running.put(new)
        view = await running.until(identity, "sent", "rejected")

    assert view.attempts == len(provider.calls) == (1 if isinstance(error, Rejected) else 2)


async def test_unavailable_says_nothing_about_the_try_before(gateway, new):
    """No other member gets the message, which the first one may have, and it is not queued again."""
    provider, other = Provider(LOST, DOWN), Provider(Receipt())
    async with gateway(member("safe", provider), member("other", other)) as running:
        view = await running.until(await running.put(new), "uncertain")

    assert outcomes(view) == [("safe", "uncertain")] + [("safe", "unavailable")] * len(replay.PAUSES)
    assert other.calls == []
    assert view.reason == LOST.reason


@pytest.mark.parametrize(("last", "state"), [(Receipt("id-1"), "sent"), (Rejected("no"), "rejected")])
async def test_an_answer_after_unavailable_counts(gateway, new, last, state):
    provider = Provider(LOST, DOWN, last)
    async with gateway(member("safe", provider)) as running:
        view = await running.until(await running.put(new), "sent", "rejected", "uncertain")

    assert (view.state, len(view.tries)) == (state, 3)


async def test_the_next_member_repeats_too_from_its_own_first_try(gateway, new):
    slow, provider = Provider(DOWN, takes=9.0), Provider(LOST, Receipt())
    provider.replay_safe = 12.0
    async with gateway(member("slow", slow), member("safe", provider)) as running:
        view = await running.until(await running.put(new), "sent", "uncertain")

    assert outcomes(view) == [("slow", "unavailable"), ("safe", "uncertain"), ("safe", "sent")]


@pytest.mark.parametrize(
    ("replay_safe", "repeats"),
    [
        # A send takes at most 11 seconds here, and the first repeat begins a quarter to half of a second later.
        (11.2, 0),
        (11.6, 1),
        (11.0 + 2 * sum(replay.PAUSES), 4),
        (900.0, 4),
        (1.0, 0),
    ],
)
async def test_every_repeat_is_over_before_the_provider_may_forget_the_first(
    gateway, new, replay_safe, repeats
):
    provider = Provider(LOST)
    provider.replay_safe = replay_safe
    async with gateway(member("safe", provider, timeout=10.0)) as running:
        view = await running.until(await running.put(new), "uncertain")

    assert len(view.tries) == 1 + repeats


async def test_a_send_that_hangs_is_repeated_while_that_is_safe(gateway, new):
    provider = Provider(LOST, takes=60.0)
    provider.replay_safe = 30.0
    async with gateway(member("safe", provider, timeout=10.0)) as running:
        view = await running.until(await running.put(new), "uncertain")

    # The second try ends at 22.5 seconds at the latest; a third one could last beyond 30.
    assert [one.reason for one in view.tries] == ["took longer than 11 s"] * 2


async def test_nothing_is_repeated_beyond_the_lifetime(gateway, new):
    provider = Provider(LOST, takes=1.0)
    async with gateway(member("safe", provider)) as running:
        identity = await running.put(new, lifetime=2.3)
        view = await running.until(identity, "uncertain", "failed")

    assert max(provider.times) < 2.3
    assert len(view.tries) < 1 + len(replay.PAUSES)


async def test_a_stop_ends_the_pause_and_the_message_is_uncertain(gateway, new):
    provider = Provider(LOST)
    async with gateway(member("safe", provider)) as running:
        identity = await running.put(new)
        while not provider.calls:  # noqa: ASYNC110  no event exists
            await asyncio.sleep(0.01)
        stopped_at = asyncio.get_running_loop().time()
        running.worker.stop()
        view = await running.until(identity, "uncertain")
        assert asyncio.get_running_loop().time() - stopped_at <= 0.25

    assert len(provider.calls) == len(view.tries) == 1


async def test_a_cancelled_pause_keeps_the_answer_that_counts(gateway, new):
    """The repeat was unavailable, and the try before it may have been taken."""
    provider = Provider(LOST, DOWN)
    async with gateway(member("safe", provider)) as running:
        identity = await running.put(new)
        while len(provider.calls) < 2:  # noqa: ASYNC110  no event exists
            await asyncio.sleep(0.01)
        (task,) = running.worker._own
        task.cancel()
        view = await running.until(identity, "uncertain", "queued", "sent")

    assert (view.state, outcomes(view)) == ("uncertain", [("safe", "uncertain"), ("safe", "unavailable")])


async def test_what_is_paused_is_not_repeated(gateway, new):
    async with gateway(member("safe", provider := Provider(LOST))) as running:

        async def pause():
            await running.outbox.change(pauses.pause, PauseOrder(Scope(plugin="safe"), "maria"))
            await running.outbox.read_pauses()
            return LOST

        provider.answers[:] = [pause]
        view = await running.until(await running.put(new), "uncertain")

    assert len(view.tries) == 1


async def test_a_claim_that_was_lost_is_not_repeated(gateway, new):
    async with gateway(member("safe", provider := Provider(LOST))) as running:

        async def lose():
            await running.outbox._database.transact(
                lambda connection: connection.exec_driver_sql("UPDATE messages SET holder = 'another'")
            )
            return LOST

        provider.answers[:] = [lose]
        await running.put(new)
        while not provider.calls or running.worker._own:  # noqa: ASYNC110  no event exists
            await asyncio.sleep(0.05)

    assert len(provider.calls) == 1


async def test_a_store_that_does_not_answer_confirms_no_claim(gateway, new, monkeypatch):
    def fail(_tx, _items):
        raise StoreBusy("locked")

    monkeypatch.setattr(replay, "confirm", fail)
    provider = Provider(LOST)
    async with gateway(member("safe", provider)) as running:
        view = await running.until(await running.put(new), "uncertain")

    assert len(view.tries) == 1


async def test_a_short_rest_is_waited_for_and_a_long_one_is_not(gateway, new):
    for rest, repeats in ((3.0, 1), (30.0, 0)):
        provider = Provider(LOST, Receipt())
        async with gateway(member("safe", provider)) as running:
            throttle = running.members["safe"].throttle

            async def lose(throttle=throttle, rest=rest):
                # As another message's answer does.
                throttle._rest_for(asyncio.get_running_loop().time(), rest, requested=True)
                return LOST

            provider.answers[0] = lose
            identity = await running.put(new, f"uid-{rest}")
            view = await running.until(identity, "sent", "uncertain")

        assert len(view.tries) == 1 + repeats
        if repeats:
            assert provider.times[1] - provider.times[0] >= rest


async def test_an_outage_of_a_moment_loses_no_answer_of_many(gateway, new):
    """The breaker trips at the fifth of 16 lost answers; all of them are repeated after its short rest."""
    provider = Provider(*[LOST] * 16, Receipt())
    async with gateway(member("safe", provider, concurrency=16)) as running:
        ids = await running.put(new, *(f"uid-{number}" for number in range(16)))
        views = [await running.until(identity, "sent", "uncertain") for identity in ids]

    assert [view.state for view in views] == ["sent"] * 16
    assert provider.most_in_progress <= 16


async def test_the_pause_keeps_the_slot(gateway, new):
    provider = Provider(LOST, LOST, Receipt(), takes=0.1)
    async with gateway(member("safe", provider, concurrency=1)) as running:
        ids = await running.put(new, "uid-1", "uid-2")
        for identity in ids:
            await running.until(identity, "sent")

    assert len(set(provider.keys[:3])) == 1
    assert provider.most_in_progress == 1


async def test_each_repeat_takes_a_turn(gateway, new):
    provider = Provider(LOST, LOST, LOST, LOST, Receipt())
    async with gateway(member("safe", provider, per_second=2.0)) as running:
        ids = await running.put(new, *(f"uid-{number}" for number in range(4)))
        for identity in ids:
            await running.until(identity, "sent")

    assert len(provider.calls) == 8
    intervals = [after - before for before, after in zip(provider.times, provider.times[1:], strict=False)]
    assert min(intervals) >= 0.499


async def test_each_repeat_takes_a_turn_that_the_replicas_share(gateway, new):
    provider = Provider(LOST, LOST, Receipt())
    rate = shared_rate("safe", 10.0)
    async with gateway(member("safe", provider, rate=rate)) as running:
        await running.until(await running.put(new), "sent")
        taken = await running.outbox._database.transact(
            lambda connection: connection.exec_driver_sql("SELECT next_at FROM turns").scalar()
        )

    # The turn of the claim and those of two repeats, each a tenth of a second after the one before.
    last_turn = taken / 1e6 - rate.interval / 1e6 - START
    assert last_turn >= provider.times[0] + 0.2


async def test_an_operators_retry_has_another_key(gateway, new):
    """What a repeat had must not hide what the operator asks for."""
    provider = Provider(Rejected("no"))
    provider.answers = [LOST, LOST, LOST, LOST, LOST, Receipt()]
    async with gateway(member("safe", provider)) as running:
        identity = await running.put(new, lifetime=20.0)
        await running.until(identity, "failed")
        provider.answers = [Receipt()]
        before = len(provider.calls)
        await running.outbox.retry(RetryOrder(ids=[identity], actor="maria", lifetimes={Channel.SMS: 60.0}))
        await running.until(identity, "sent")

    assert provider.keys[before] not in provider.keys[:before]
