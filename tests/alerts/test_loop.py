"""What the people on call are told, when, how often, and by which gateway."""

import asyncio

import msgspec
import pytest
from sqlalchemy import select, update

from gatepost.alerts import sending
from gatepost.alerts.loop import MIN_INTERVAL
from gatepost.errors import StoreBusy
from gatepost.outbox.schema import leases
from gatepost.outbox.status_schema import alert_states
from gatepost.upkeep.status import InstanceStatus

BEGIN = 120.0
"""Seconds after which people know of a problem that began just now."""

FINE = InstanceStatus(
    instance="acme",
    state="usable",
    seconds=0.0,
    failing_for=0.0,
    misconfigured=False,
    reason="",
    since_success=1.0,
    per_minute=60.0,
    shares={},
)
WRONG_KEY = msgspec.structs.replace(FINE, misconfigured=True, reason="the provider refused the key")


def wrong_key(name, **fields):
    return msgspec.structs.replace(WRONG_KEY, instance=name, **fields)


NEW = "New: on box-1, plugins.acme is misconfigured: the provider refused the key"


async def test_a_problem_is_told_once_when_it_begins_and_once_when_it_is_over(gateway, receiver):
    gateway.instances = [WRONG_KEY]
    await gateway.passes(BEGIN)

    assert receiver.titles == ["Gatepost: 1 new"]
    (body,) = receiver.take()
    assert body == f"{NEW}\n   What to do: mend its table or its account; gatepost check --live tries it"

    await gateway.passes(900)
    assert receiver.take() == []

    gateway.instances = [FINE]
    await gateway.passes(BEGIN)
    assert receiver.titles == ["Gatepost: 1 over"]
    (body,) = receiver.take()
    assert body.startswith("Over: on box-1, plugins.acme is misconfigured")
    await gateway.passes(900)
    assert receiver.take() == []


async def test_nobody_is_told_of_what_comes_and_goes(gateway, receiver):
    for _ in range(20):
        gateway.instances = [WRONG_KEY]
        await gateway.passes(45)
        gateway.instances = [FINE]
        await gateway.passes(45)
    assert receiver.take() == []


async def test_a_problem_that_is_gone_for_a_moment_is_not_over(gateway, receiver):
    gateway.instances = [WRONG_KEY]
    await gateway.passes(BEGIN)
    for _ in range(20):
        gateway.instances = [FINE]
        await gateway.passes(45)
        gateway.instances = [WRONG_KEY]
        await gateway.passes(45)
    assert len(receiver.take()) == 1


async def test_changes_are_told_together_and_rarely(gateway, receiver):
    names = [f"plugin-{number}" for number in range(40)]
    gateway.instances = []
    for name in names:
        gateway.instances = [*gateway.instances, wrong_key(name)]
        await gateway.passes(30)
    await gateway.passes(MIN_INTERVAL + BEGIN)

    # 40 problems within 20 minutes, at most one message every five.
    bodies = receiver.take()
    assert 2 <= len(bodies) <= 6
    assert sum(body.count("New: ") for body in bodies) == len(names)


async def test_a_long_list_is_cut(gateway, receiver):
    gateway.instances = [wrong_key(f"plugin-{number}") for number in range(25)]
    await gateway.passes(BEGIN)
    assert receiver.titles == ["Gatepost: 25 new"]
    (body,) = receiver.take()
    assert body.endswith("\nand 5 more: gatepost status shows all that last")


async def test_people_are_reminded_once_a_day(gateway, receiver):
    gateway.instances = [WRONG_KEY]
    await gateway.passes(BEGIN)
    receiver.take()
    gateway.clock.now += 86_400
    await gateway.passes(BEGIN)
    assert receiver.titles == ["Gatepost: 1 still there"]
    (body,) = receiver.take()
    assert body.startswith("Still there: on box-1, plugins.acme is misconfigured")
    assert "(since 2027-01-15 08:00:" in body


async def test_a_restart_repeats_nothing(gateway, receiver, old_queue):
    begin, _ = old_queue
    await begin(gateway.outbox)
    gateway.instances = [WRONG_KEY]
    await gateway.passes(BEGIN)
    (body,) = receiver.take()
    # The most urgent first, wherever it is.
    assert body.index(NEW) < body.index("New: messages wait: email")

    restarted = restart(gateway)
    restarted.instances = [WRONG_KEY]
    await restarted.passes(900)
    assert receiver.take() == []
    restarted.instances = [FINE]
    await restarted.passes(BEGIN)
    assert receiver.titles == ["Gatepost: 1 over"]


async def test_a_state_of_another_version_is_told_once_more(gateway, receiver):
    gateway.instances = [WRONG_KEY]
    await gateway.passes(BEGIN)
    assert len(receiver.take()) == 1
    await gateway.outbox._database.transact(
        lambda connection: connection.execute(update(alert_states).values(state='{"announced": 5}'))
    )
    restarted = restart(gateway)
    restarted.instances = [WRONG_KEY]
    await restarted.passes(MIN_INTERVAL)
    assert len(receiver.take()) == 1


def restart(gateway):
    """Return the alerts of the process that follows this one, which has died."""
    outbox = gateway.outbox
    follower = type(gateway)(gateway.alerts._settings, outbox, gateway.reader, gateway.clock)
    outbox.holder = "the-next-process"
    return follower


async def test_no_message_names_a_user_or_a_uid(gateway, receiver, old_queue):
    begin, end = old_queue
    await begin(gateway.outbox)
    gateway.instances = [
        wrong_key("acme", reason="550 no\nmailbox: canary@example.com, call +44 7700 900987")
    ]
    await gateway.passes(BEGIN)
    await end(gateway.outbox)
    gateway.instances = [FINE]
    await gateway.passes(MIN_INTERVAL + BEGIN)

    assert receiver.titles == ["Gatepost: 2 new", "Gatepost: 2 over"]
    text = str(receiver.messages)
    assert "550 no mailbox: [redacted]" in text
    for private in ("canary", "900987", "secret-path"):
        assert private not in text


async def test_a_receiver_that_fails_gets_it_later(gateway, receiver, log):
    receiver.status = 500
    gateway.instances = [WRONG_KEY]
    await gateway.passes(BEGIN)
    assert len(receiver.take()) == 1
    (line,) = log
    assert (line["event"], line["scheme"], line["entry"]) == ("alert_not_sent", "json", 1)
    assert "secret-path" not in str(line)

    receiver.status = 200
    await gateway.passes(MIN_INTERVAL + 30)
    assert [body.startswith(NEW) for body in receiver.take()] == [True]
    await gateway.passes(900)
    assert receiver.take() == []


async def test_one_receiver_that_fails_does_not_repeat_messages_to_the_others(
    gateway_on, receiver, receiving
):
    async with receiving() as other:
        gateway = await gateway_on(receiver.url, other.url)
        other.status = 500
        gateway.instances = [WRONG_KEY]
        await gateway.passes(BEGIN)
        await gateway.passes(MIN_INTERVAL + BEGIN)
        assert len(receiver.take()) == 1
        other.take()

        other.status = 200
        gateway.instances = [FINE]
        await gateway.passes(MIN_INTERVAL + BEGIN)
        assert other.titles[-1] == "Gatepost: 1 new, 1 over"
        assert [body.startswith("Over: ") for body in receiver.take()] == [True]


async def test_a_receiver_that_hangs_holds_up_neither_the_loop_nor_the_others(
    gateway_on, receiver, receiving, monkeypatch, log
):
    monkeypatch.setattr(sending, "TIMEOUT", 0.2)
    async with receiving() as other:
        other.hangs = True
        gateway = await gateway_on(f"{other.url}?rto=100", receiver.url)
        gateway.instances = [WRONG_KEY]
        await gateway.passes(BEGIN)
        assert len(receiver.take()) == 1
        gateway.instances = [FINE]
        await gateway.passes(MIN_INTERVAL + BEGIN)
        assert len(receiver.take()) == 1
        # While its thread hangs, no other one is started.
        assert len(other.take()) == 1
    assert [line["reason"] for line in log] == ["no answer within 0.2 s", "an earlier message hangs"]


@pytest.mark.parametrize("broken", ["hold", "save"])
async def test_a_store_that_is_away_does_not_silence_a_gateway(gateway, receiver, monkeypatch, broken):
    await gateway.passes(BEGIN)
    change = gateway.outbox.change

    async def fails(work, order):
        if work.__name__ == broken:
            raise StoreBusy("the disk is full")
        return await change(work, order)

    monkeypatch.setattr(gateway.outbox, "change", fails)
    gateway.store_fails = True
    await gateway.passes(BEGIN)
    assert [body.startswith("New: on box-1, the store refuses writes") for body in receiver.take()] == [True]

    monkeypatch.setattr(gateway.outbox, "change", change)
    gateway.store_fails = False
    await gateway.passes(MIN_INTERVAL + BEGIN)
    assert [body.startswith("Over: on box-1, the store") for body in receiver.take()] == [True]


async def test_two_gateways_tell_of_the_store_and_of_an_outage_that_both_see_once(
    gateway_on, receiver, postgres_server, old_queue
):
    url = postgres_server.new_database()
    first = await gateway_on(receiver.url, store=url, host="box-1")
    second = await gateway_on(receiver.url, store=url, host="box-2")
    begin, end = old_queue
    await begin(first.outbox)
    await both_pass(first, second, BEGIN)
    (body,) = receiver.take()
    assert "New: messages wait" in body

    first.instances = second.instances = [WRONG_KEY]
    await both_pass(first, second, MIN_INTERVAL + BEGIN)
    (body,) = receiver.take()
    assert body.startswith(NEW.replace("box-1", "box-1 and box-2"))
    await both_pass(first, second, 2 * MIN_INTERVAL)
    # It is over when no gateway sees it any more.
    first.instances = [FINE]
    await both_pass(first, second, 2 * MIN_INTERVAL)
    assert receiver.take() == []
    second.instances = [FINE]
    await both_pass(first, second, BEGIN)
    (body,) = receiver.take()
    assert body.startswith("Over: on box-1 and box-2, plugins.acme is misconfigured")

    await end(first.outbox)
    await both_pass(first, second, MIN_INTERVAL + BEGIN)
    assert [body.startswith("Over: messages wait") for body in receiver.take()] == [True]


@pytest.mark.parametrize("sees", [0, 1])
async def test_a_problem_that_one_gateway_sees_names_those_that_do_not(
    gateway_on, receiver, postgres_server, sees
):
    url = postgres_server.new_database()
    both = [await gateway_on(receiver.url, store=url, host=f"box-{number}") for number in (1, 2)]
    both[sees].instances = [WRONG_KEY]
    both[1 - sees].instances = [FINE]
    await both_pass(*both, BEGIN)
    (body,) = receiver.take()
    assert body.startswith(NEW.replace("box-1", f"box-{sees + 1} (not on box-{2 - sees})"))
    # The gateway that sees it dies: nobody sees it any more.
    await release(both[sees])
    await both[1 - sees].passes(MIN_INTERVAL + BEGIN)
    (body,) = receiver.take()
    assert body.startswith("Over: on box-")


async def test_what_was_told_of_all_gateways_is_not_told_again_by_each_while_the_store_is_away(
    gateway_on, receiver, postgres_server, monkeypatch
):
    url = postgres_server.new_database()
    first = await gateway_on(receiver.url, store=url, host="box-1")
    second = await gateway_on(receiver.url, store=url, host="box-2")
    first.instances = second.instances = [WRONG_KEY]
    await both_pass(first, second, MIN_INTERVAL + BEGIN)
    assert len(receiver.take()) == 1

    async def fails(*_):
        raise StoreBusy("the database can't be reached")

    with monkeypatch.context() as patch:
        for one in (first, second):
            patch.setattr(one.outbox, "change", fails)
            one.store_fails = True
        await both_pass(first, second, MIN_INTERVAL + BEGIN)
        bodies = receiver.take()
    assert [body.partition(", the store refuses writes")[0] for body in sorted(bodies)] == [
        "New: on box-1",
        "New: on box-2",
    ]
    for one in (first, second):
        one.store_fails = False
    await both_pass(first, second, MIN_INTERVAL + BEGIN)
    assert [body.partition(", the store refuses writes")[0] for body in sorted(receiver.take())] == [
        "Over: on box-1",
        "Over: on box-2",
    ]


async def both_pass(first, second, seconds):
    for _ in range(round(seconds / 15)):
        first.clock.now += 15
        await asyncio.gather(first.look(), second.look())


async def test_another_gateway_continues_for_one_that_died(gateway_on, receiver, postgres_server, old_queue):
    url = postgres_server.new_database()
    first = await gateway_on(receiver.url, store=url, host="box-1")
    second = await gateway_on(receiver.url, store=url, host="box-2")
    begin, end = old_queue
    await begin(first.outbox)
    await both_pass(first, second, BEGIN)
    assert len(receiver.take()) == 1

    holder, other = (first, second) if first.alerts._shared.is_held else (second, first)
    assert not other.alerts._shared.is_held
    await release(holder)
    await other.passes(MIN_INTERVAL + BEGIN)
    assert receiver.take() == []
    await end(first.outbox)
    await other.passes(BEGIN)
    assert [body.startswith("Over: messages wait") for body in receiver.take()] == [True]


async def release(gateway):
    """End the leases of a gateway, as if it had died a while ago."""
    await gateway.outbox._database.transact(
        lambda connection: connection.execute(update(leases).values(ends_at=0))
    )


async def test_a_host_that_is_gone_leaves_nothing_in_the_store(gateway, receiver):
    gateway.instances = [WRONG_KEY]
    await gateway.passes(BEGIN)
    gateway.clock.now += 2 * 86_400
    later = type(gateway)(gateway.alerts._settings, gateway.outbox, gateway.reader, gateway.clock, "box-9")
    later.instances = [WRONG_KEY]
    await later.passes(BEGIN)

    scopes = await gateway.outbox._database.transact(
        lambda connection: connection.execute(select(alert_states.c.scope)).scalars().all()
    )
    assert sorted(scopes) == ["alerts", "alerts/box-9"]
