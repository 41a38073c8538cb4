"""Which messages go through an instance that warms up: never more than its cap, and the others as if it were resting."""

import asyncio

import pytest

from delivery_site import Deployment
from gatepost.config.routes import Route
from gatepost.config.settings import InstanceSettings, Warmup
from gatepost.outbox import Policy, warmups
from gatepost.outbox.startup import warmup_plan
from gatepost.outbox.warmups import FULL_INTERVAL
from torture.fast_forward import FastForward

HOUR = 3_600.0


@pytest.fixture
async def deployment(tmp_path, new, anyio_backend):
    """Yield a deployment whose instance ``one`` has a cap of 5 in the first hour; the hour has just begun."""
    it = Deployment(tmp_path, new)
    it.limits["one"] = {"warmup": Warmup(first=5, factor=2.0, per="hour")}
    settings = InstanceSettings(name="one", use="one", **it.limits["one"])
    it.policy = Policy(warmups={"one": warmup_plan(settings)})
    async with it.opened():
        yield it


@pytest.fixture
def anyio_backend():
    return "asyncio", {"loop_factory": FastForward}


def sent_through(deployment):
    return {name: len(provider.at) for name, provider in deployment.providers.items()}


LIST = Route(name="sms", use=("one", "other"))
SPLIT = Route(name="sms", split={"one": 1.0, "other": 1.0})
ALONE = Route(name="sms", use=("one",))


@pytest.mark.parametrize("rule", [LIST, SPLIT])
async def test_the_next_instance_gets_the_surplus_at_once(deployment, rule):
    ids = await deployment.put_many(20, route="sms")
    async with deployment.sending(rule):
        await deployment.sent(*ids)
        await deployment.ended(ids[-1])
    assert sent_through(deployment) == {"one": 5, "other": 15}
    assert max(deployment.sent_at.values()) < 0.5
    reasons = set((await deployment.choices()).values())
    assert any(text.endswith("; one is at its warm-up cap") for text in reasons), reasons


async def test_where_it_is_alone_messages_wait_for_the_next_hours_and_hold_up_no_others(deployment):
    await deployment.put_many(40, route="sms")
    async with deployment.sending(ALONE, Route(name="free", use=("other",))):
        sent = []
        for hour in range(3):
            await asyncio.sleep(2 * FULL_INTERVAL)
            sent.append(sent_through(deployment)["one"])
            others = [await deployment.put(f"{hour}-{number}", route="free") for number in range(3)]
            before = asyncio.get_running_loop().time()
            await deployment.sent(*others)
            assert asyncio.get_running_loop().time() - before < 1.5
            deployment.time_shift += HOUR
    assert sent == [5, 5 + 10, 5 + 10 + 20]


async def test_a_provider_that_takes_nothing_uses_no_cap(deployment):
    await deployment.put_many(8, route="sms")
    one = deployment.providers["one"]
    one.down = True
    async with deployment.sending(ALONE):
        await asyncio.sleep(300.0)
        assert not one.at
        one.down = False
        await asyncio.sleep(300.0)
    assert len(one.at) == 5


async def test_a_message_that_another_instance_did_not_take_needs_a_place_too(deployment):
    await deployment.put_many(8, route="sms")
    deployment.providers["other"].down = True
    async with deployment.sending(Route(name="sms", use=("other", "one"))):
        await asyncio.sleep(120.0)
    assert sent_through(deployment) == {"one": 5, "other": 0}


async def test_messages_without_a_route_of_their_own_need_places_too(deployment):
    """They are claimed before it is known where they go, and wait for a slot then."""
    await deployment.put_many(8)
    async with deployment.sending(Route(name="uk", countries=("GB",), use=("one",))):
        await asyncio.sleep(20.0)
    assert sent_through(deployment) == {"one": 5, "other": 0}


async def test_messages_of_a_route_that_is_no_longer_configured_need_places_too(deployment):
    await deployment.put_many(8, route="gone")
    async with deployment.sending(ALONE):
        await asyncio.sleep(60.0)
    assert sent_through(deployment) == {"one": 5, "other": 0}
    (view,) = await deployment.outbox._database.transact(warmups.find)
    assert view.used == 5


async def test_a_lifetime_ends_while_the_cap_is_used(deployment):
    await deployment.put_many(5, route="sms")
    async with deployment.sending(ALONE):
        await asyncio.sleep(1.0)
        late = await deployment.put("late", route="sms")
        deployment.time_shift += HOUR / 2
        row = await deployment.row(late)
        assert row.state == "queued"
        deployment.time_shift += 24 * HOUR
        await deployment.outbox.sweep()
        assert (await deployment.row(late)).state == "failed"


async def test_urgent_messages_get_the_places_first(deployment):
    urgent = Route(name="codes", use=("one",), urgent=True)
    await deployment.put_many(20, route="sms")
    codes = await deployment.put_many(4, route="codes")
    async with deployment.sending(urgent, ALONE):
        await asyncio.sleep(5.0)
    assert set(codes) <= deployment.providers["one"].at.keys()
    assert len(deployment.providers["one"].at) == 5


async def test_the_clients_of_a_route_share_the_places(deployment):
    deployment.limits["one"] = {"warmup": Warmup(first=40, factor=2.0, per="hour"), "concurrency": 4}
    first = await deployment.put_many(60, route="sms")
    second = await deployment.put_many(60, route="sms", client="second")
    deployment.providers["one"].takes = 0.1
    async with deployment.sending(ALONE):
        await asyncio.sleep(20.0)
    through = deployment.providers["one"].at.keys()
    shares = [len(through & set(first)), len(through & set(second))]
    # The last claim may be of one client alone.
    assert sum(shares) == 40
    assert min(shares) >= 18
