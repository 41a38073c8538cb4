"""The core's side of a Context, in memory."""

import pytest

from gatepost.errors import Unavailable
from gatepost.model import Report, Status, StatusEvent
from gatepost.testing.fakes import FakeCore


async def test_what_a_plugin_does_with_its_context_can_be_seen():
    core = FakeCore()
    context = core.context(timeout=1.0)

    assert await context.report(Report()) == 0
    core.unknown = 2
    assert await context.report(Report(events=[StatusEvent(status=Status.DELIVERED, provider_id="1")])) == 1
    core.reports.pop()
    assert await context.lease("poll", 30.0)
    context.warn("base_url", "is http")
    context.confirm("the domain is verified")
    context.advise("look at the balance")
    context.log.info("hello", x=1)

    assert (context.timeout, context.webhook_url) == (1.0, "https://gateway.example/webhooks/conformance")
    assert core.reports == [Report()]
    assert (core.leases, core.lease_calls) == ({"poll": 30.0}, 1)
    assert core.warnings == [("base_url", "is http")]
    assert (core.confirmations, core.advice) == (["the domain is verified"], ["look at the balance"])
    assert core.logged == [{"event": "hello", "x": 1, "log_level": "info"}]


async def test_state_changes_only_from_the_value_that_it_has():
    core = FakeCore()
    state = core.context().state

    assert await state.read("cursor") == ""
    assert await state.replace("cursor", "", "1")
    assert not await state.replace("cursor", "", "2")
    assert await state.read("cursor") == "1"
    assert await state.replace("cursor", "1", "")
    assert core.values == {}


@pytest.mark.parametrize(("key", "new"), [("k" * 65, "1"), ("k", "x" * 4_097)])
async def test_state_has_the_limits_of_the_store(key, new):
    with pytest.raises(ValueError, match="at most"):
        await FakeCore().context().state.replace(key, "", new)


@pytest.mark.parametrize(("name", "seconds"), [("", 30.0), ("n" * 65, 30.0), ("n", 0.5), ("n", 301.0)])
async def test_leases_have_the_limits_of_the_store(name, seconds):
    with pytest.raises(ValueError, match="a lease has"):
        await FakeCore().context().lease(name, seconds)


async def test_another_replica_may_have_the_lease():
    core = FakeCore()
    core.lease_free = False

    assert not await core.context().lease("poll", 30.0)


async def test_while_the_store_is_away_nothing_can_be_kept():
    core = FakeCore()
    core.reachable = False
    context = core.context()

    for call in (
        lambda: context.report(Report()),
        lambda: context.lease("poll", 30.0),
        lambda: context.state.read("k"),
        lambda: context.state.replace("k", "", "v"),
    ):
        with pytest.raises(Unavailable):
            await call()
    assert core.refusals == 4
