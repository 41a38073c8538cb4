"""Pauses: what they stop, how long, and who knows of them. On both stores."""

import pytest

from gatepost.model import Channel
from gatepost.outbox import Queue, audit, pauses
from gatepost.outbox.pauses import PauseOrder, ResumeOrder, Scope

pytestmark = pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)

SMS = Queue(1, Channel.SMS, "uk", "brand")
EMAIL = Queue(2, Channel.EMAIL, "email", "brand")
OTHER = Queue(3, Channel.SMS, "sms", "other")
QUEUES = {"sms": SMS, "email": EMAIL, "other": OTHER}


async def pause(store, ends_at=None, reason="", actor="maria", **scope):
    order = PauseOrder(Scope(**scope), actor, reason, ends_at)
    paused = await store.change(pauses.pause, order)
    await store.read_pauses()
    return paused


async def resume(store, **scope):
    resumed = await store.change(pauses.resume, ResumeOrder(Scope(**scope) if scope else None, "otto"))
    await store.read_pauses()
    return resumed


def paused(store, instance=""):
    return " ".join(name for name, queue in QUEUES.items() if store.pauses(queue, instance))


async def entries(store):
    found = await store._database.transact(lambda connection: audit.list_entries(connection, 100))
    return [(one.actor, one.operation, dict(one.target), one.reason) for one in found]


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({"client": "brand"}, "sms email"),
        ({"client": "bran"}, ""),
        ({"channel": Channel.SMS}, "sms other"),
        ({"route": "uk"}, "sms"),
        ({"client": "brand", "channel": Channel.SMS}, "sms"),
        ({"client": "other", "channel": Channel.EMAIL}, ""),
    ],
)
async def test_messages_wait_for_which_the_whole_scope_holds(store, scope, expected):
    assert paused(store) == ""

    await pause(store, **scope)

    assert paused(store) == expected
    assert paused(store, "vonage-eu") == ""


async def test_a_plugin_is_paused_for_all_or_for_some_messages(store):
    await pause(store, plugin="vonage-eu")
    await pause(store, plugin="twilio", client="other")

    assert paused(store) == ""
    assert paused(store, "vonage-eu") == "sms email other"
    assert paused(store, "twilio") == "other"
    assert paused(store, "relay") == ""


async def test_a_restart_keeps_a_pause(place):
    async with place.opened() as store:
        await pause(store, client="brand")
    async with place.opened() as store:
        # Before anything else is done with it.
        assert paused(store) == "sms email"


async def test_another_process_obeys_when_it_reads_the_pauses(place):
    if place.url.reveal().startswith("sqlite"):
        pytest.skip("one process only")
    async with place.opened() as one, place.opened() as other:
        await pause(one, client="brand")
        assert paused(other) == ""
        other.queue_signals.take()

        await other.read_pauses()

        assert paused(other) == "sms email"
        assert other.queue_signals.take()[1]


async def test_a_pause_ends_by_itself(store, clock):
    one = await pause(store, client="brand", ends_at=1_800_000_060.0)
    assert one.ends_at == 1_800_000_060.0

    clock.advance(59.999)
    await store.read_pauses()
    assert paused(store) == "sms email"
    clock.advance(0.001)
    await store.read_pauses()

    assert paused(store) == ""
    assert (await resume(store, client="brand")).ended == []


async def test_a_pause_that_has_ended_already_changes_nothing(store):
    await pause(store, client="brand", reason="first")

    assert await pause(store, client="brand", ends_at=1_800_000_000.0) is None

    assert [one.reason for one in await store.change(pauses.read, None)] == ["first"]
    assert len(await entries(store)) == 1


async def test_to_pause_again_replaces_reason_and_end(store, clock):
    await pause(store, client="brand", reason="first", ends_at=1_800_000_060.0)
    clock.advance(1)
    await pause(store, client="brand", reason="second", actor="otto")

    (one,) = await store.change(pauses.read, None)
    assert (one.scope, one.reason, one.actor, one.ends_at) == (Scope(client="brand"), "second", "otto", None)
    assert one.created_at == 1_800_000_001.0


async def test_resume_ends_exactly_that_pause(store):
    await pause(store, client="brand")
    await pause(store, client="brand", channel=Channel.SMS)

    resumed = await resume(store, client="brand", route="uk")
    assert (resumed.ended, len(resumed.others)) == ([], 2)
    assert paused(store) == "sms email"
    resumed = await resume(store, client="brand")
    assert [one.scope for one in resumed.ended] == [Scope(client="brand")]
    assert paused(store) == "sms"


async def test_resume_ends_all_pauses(store):
    await pause(store, client="brand")
    await pause(store, plugin="twilio")

    assert len((await resume(store)).ended) == 2

    assert paused(store) == paused(store, "twilio") == ""


async def test_pauses_and_their_ends_are_recorded(store):
    await pause(store, client="brand", channel=Channel.SMS, reason="wrong prices", ends_at=1_800_000_060.0)
    await resume(store)

    scope = {"client": "brand", "channel": "sms"}
    assert await entries(store) == [
        ("otto", "resume", scope, ""),
        ("maria", "pause", {**scope, "ends_at": "2027-01-15T08:01:00+00:00"}, "wrong prices"),
    ]
