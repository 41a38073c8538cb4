"""Messages whose route is not decided, or not configured any more, and the shares of clients and urgent routes.

On a clock that moves only while all tasks wait.
"""

import asyncio
from collections import Counter

import pytest
from sqlalchemy import update

from delivery_site import Deployment
from gatepost.config.routes import Route
from gatepost.outbox.schema import messages
from torture.fast_forward import FastForward


@pytest.fixture
def anyio_backend():
    return "asyncio", {"loop_factory": FastForward}


@pytest.fixture
async def deployment(tmp_path, new):
    it = Deployment(tmp_path, new)
    async with it.opened():
        yield it


UK = Route(name="uk", countries=("GB",), use=("one",))
REST = Route(name="rest", use=("other",))


async def test_an_undecided_route_is_decided_with_the_recipient_and_stored(deployment):
    anna, jean = await deployment.put("anna"), await deployment.put("jean", user="jean")
    async with deployment.sending(UK, REST):
        await deployment.sent(anna, jean)
        await deployment.ended(anna)
        await deployment.ended(jean)

    assert deployment.providers["one"].at.keys() == {anna}
    assert deployment.providers["other"].at.keys() == {jean}
    assert [(row.route, row.country) for row in [await deployment.row(anna), await deployment.row(jean)]] == [
        ("uk", "GB"),
        ("rest", "FR"),
    ]
    # The decision takes no time, and is no failed try.
    assert max(deployment.sent_at.values()) < 1.0


async def test_while_the_source_is_away_an_undecided_message_waits(deployment):
    deployment.users.away = True
    anna = await deployment.put("anna")
    async with deployment.sending(UK, REST):
        await asyncio.sleep(30.0)
        assert not deployment.sent_at
        assert (await deployment.row(anna)).reason == "a contact source was unavailable"
        deployment.users.away = False
        await deployment.sent(anna)


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        (
            (Route(name="no", countries=("GB",), refuse="no SMS to this country"), REST),
            "no SMS to this country",
        ),
        ((Route(name="fr", countries=("FR",), use=("one",)),), "it fits no route"),
    ],
)
async def test_an_undecided_message_that_the_rules_refuse_is_rejected(deployment, rules, reason):
    anna = await deployment.put("anna")
    async with deployment.sending(*rules):
        row = await deployment.ended(anna)

    assert (row.state, row.reason) == ("rejected", reason)
    assert not deployment.sent_at


async def test_the_cap_of_a_route_is_judged_when_the_route_is_decided(deployment):
    """Two messages arrive while the source is away; the route takes one a day, on the day on which it is decided."""
    deployment.users.away = True
    both = await deployment.put("one"), await deployment.put("two")
    async with deployment.sending(Route(name="uk", countries=("GB",), use=("one",), per_day=1), REST):
        await asyncio.sleep(10.0)
        deployment.users.away = False
        rows = [await deployment.ended(message) for message in both]

    assert sorted((row.state, row.reason) for row in rows) == [
        ("rejected", "route uk's per_day of 1 is reached: accepted again from 00:00 UTC"),
        ("sent", ""),
    ]
    assert len(deployment.sent_at) == 1


async def test_a_user_who_has_vanished_is_rejected_before_a_route_is_decided(deployment):
    message = await deployment.put("nobody", user="nobody")
    async with deployment.sending(UK, REST):
        row = await deployment.ended(message)

    assert (row.state, row.reason) == ("rejected", "no contact source knows the user any more")


async def test_a_route_that_is_not_configured_is_decided_anew_and_not_rewritten(deployment):
    anna = await deployment.put("anna", route="of-another-replica")
    async with deployment.sending(UK, REST):
        row = await deployment.ended(anna)

    assert deployment.providers["one"].at.keys() == {anna}
    assert (row.route, row.state) == ("of-another-replica", "sent")


async def test_a_message_of_an_unknown_route_that_no_rule_takes_waits_for_a_configuration_that_does(
    deployment,
):
    anna = await deployment.put("anna", route="of-another-replica")
    async with deployment.sending(Route(name="no", refuse="no SMS at all")):
        await asyncio.sleep(60.0)
        row = await deployment.row(anna)
        assert (row.state, row.reason) == (
            "queued",
            "its route is no longer configured, and no other one takes it",
        )
    async with deployment.sending(REST):
        await deployment.sent(anna)


async def test_a_message_of_a_removed_client_waits_for_its_client(deployment):
    undecided = await deployment.put("anna", client="gone")
    unknown = await deployment.put("anna-2", client="gone", route="of-another-replica")
    async with deployment.sending(REST):
        await asyncio.sleep(60.0)
        for one in (undecided, unknown):
            row = await deployment.row(one)
            assert (row.state, row.reason) == ("queued", "its client is no longer configured")
    deployment.clients = (*deployment.clients, "gone")
    async with deployment.sending(REST):
        await deployment.sent(undecided, unknown)


@pytest.mark.parametrize("route", ["", "of-another-replica"])
async def test_messages_with_and_without_a_known_route_share_an_instance(deployment, route):
    """A hundred and fifty each; of the first hundred and fifty sends, each has a fair part."""
    deployment.limits["one"] = {"concurrency": 4}
    deployment.providers["one"].takes = 0.5
    known = await deployment.put_many(150, route="all")
    other = await deployment.put_many(150, route=route, client="second")
    async with deployment.sending(Route(name="all", use=("one",))):
        while len(deployment.sent_at) < 150:  # noqa: ASYNC110  no event exists
            await asyncio.sleep(0.1)
        first = sorted(deployment.sent_at, key=deployment.sent_at.__getitem__)[:150]
    sent = Counter(one in set(other) for one in first)
    assert sent.keys() == {True, False}
    assert min(sent.values()) >= 50
    assert len(known) == 150


async def test_a_resting_route_does_not_hold_up_other_messages_without_a_known_route(deployment):
    deployment.providers["one"].down = True
    stuck = await deployment.put_many(100, route="of-another-replica")
    async with deployment.sending(UK, REST):
        await asyncio.sleep(5.0)
        jean = await deployment.put("jean", user="jean", client="second")
        began = asyncio.get_running_loop().time()
        await deployment.sent(jean)
        assert deployment.sent_at[jean] - began < 10.0
        deployment.providers["one"].down = False
        await deployment.sent(*stuck)


async def test_a_long_queue_delays_neither_another_client_nor_an_urgent_message(deployment):
    """At a hundred a second, with three hundred messages before them."""
    deployment.limits["one"] = {"per_second": 100.0, "concurrency": 16}
    deployment.providers["one"].takes = 0.05
    rules = (
        Route(name="codes", senders=("Codes",), use=("one",), urgent=True),
        Route(name="all", use=("one",)),
    )
    campaign = await deployment.put_many(300, route="all")
    async with deployment.sending(*rules):
        await asyncio.sleep(0.5)
        began = asyncio.get_running_loop().time()
        other = await deployment.put("other", route="all", client="second")
        urgent = await deployment.put("urgent", route="codes")
        await deployment.sent(other, urgent)
        for one in (other, urgent):
            assert deployment.sent_at[one] - began <= 0.3
        assert not deployment.sent_at.keys() >= set(campaign)
        await deployment.sent(*campaign)
        # The rate was reached, and never exceeded.
        times = sorted(deployment.sent_at.values())
        assert times[-1] <= 3.2
        assert all(later - earlier >= 0.99 for earlier, later in zip(times, times[100:], strict=False))


async def test_the_reason_of_a_choice_is_stored_with_the_try(deployment):
    deployment.providers["one"].down = True
    deployment.limits["one"] = {"concurrency": 1}
    first = await deployment.put("first", route="all")
    async with deployment.sending(Route(name="all", use=("one", "other"))):
        await deployment.sent(first)
        second = await deployment.put("second", route="all")
        await deployment.sent(second)
        await deployment.ended(second)
        choices = await deployment.choices()
    assert choices[second] == "the first of the route that works; one rests"
    async with deployment.sending(Route(name="all", split={"one": 70, "other": 30})):
        third = await deployment.put("third", route="all")
        await deployment.ended(third)
        choices = await deployment.choices()
    assert choices[third] in {"split 70:30", "after one was unavailable"}


CHAT_FIRST = Route(name="chat-first", use=("one", "other"), next_after=60.0)


async def put_passed(deployment, uid, passed):
    message_id = await deployment.put(uid, "chat-first")
    change = update(messages).where(messages.c.id == message_id).values(passed=passed)
    await deployment.outbox._database.transact(lambda connection: connection.execute(change))
    return message_id


async def test_a_message_that_was_moved_on_is_sent_by_the_next_instance(deployment):
    first = await deployment.put("1", "chat-first")
    moved = await put_passed(deployment, "2", "one")
    async with deployment.sending(CHAT_FIRST):
        await deployment.sent(first, moved)
    assert first in deployment.providers["one"].at
    assert moved in deployment.providers["other"].at
    assert await deployment.choices() == {first: "", moved: "after one, which did not deliver it"}


async def test_a_message_that_was_moved_on_waits_for_the_next_instance(deployment):
    deployment.providers["other"].down = True
    moved = await put_passed(deployment, "1", "one")
    async with deployment.sending(CHAT_FIRST):
        await asyncio.sleep(30)
        assert not deployment.sent_at
        deployment.providers["other"].down = False
        await deployment.sent(moved)
    assert moved in deployment.providers["other"].at


async def test_a_suspect_that_was_moved_on_is_sent_by_the_next_instance_too(deployment):
    moved = await put_passed(deployment, "1", "one")
    change = update(messages).values(deaths=2, state="suspect")
    await deployment.outbox._database.transact(lambda connection: connection.execute(change))
    async with deployment.sending(CHAT_FIRST):
        await deployment.sent(moved)
    assert moved in deployment.providers["other"].at


async def test_a_message_that_every_instance_had_is_sent_no_more(deployment):
    moved = await put_passed(deployment, "1", "other")
    async with deployment.sending(CHAT_FIRST):
        while (await deployment.row(moved)).state != "awaiting":  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert (await deployment.row(moved)).reason == "no plugin of its route is left"
    assert not deployment.sent_at


async def test_a_message_expires_at_the_provider_when_the_next_instance_gets_it(deployment):
    first = await deployment.put("1", "chat-first")
    moved = await put_passed(deployment, "2", "one")
    async with deployment.sending(CHAT_FIRST):
        await deployment.sent(first, moved)
    assert deployment.providers["one"].lifetimes == [60.0]
    assert deployment.providers["other"].lifetimes[0] > 3600


async def test_messages_for_an_instance_that_rests_do_not_hold_up_those_of_another(deployment):
    """Messages that were moved on are claimed with slots of the first instance."""
    deployment.providers["other"].down = True
    moved = [await put_passed(deployment, f"moved-{number}", "one") for number in range(300)]
    async with deployment.sending(CHAT_FIRST):
        await asyncio.sleep(1.0)
        began = asyncio.get_running_loop().time()
        new = await deployment.put("new", "chat-first")
        await deployment.sent(new)
        assert deployment.sent_at[new] - began < 2.0
        deployment.providers["other"].down = False
        await deployment.sent(*moved)


@pytest.mark.parametrize("scope", [{"plugin": "other"}, {"plugin": "other", "route": "chat-first"}])
async def test_a_message_that_was_moved_on_waits_for_a_paused_instance(deployment, scope):
    moved = await put_passed(deployment, "1", "one")
    await deployment.pause(**scope)
    async with deployment.sending(CHAT_FIRST):
        await asyncio.sleep(30)
        assert not deployment.sent_at
        await deployment.resume()
        await deployment.sent(moved)


async def test_a_pause_holds_for_a_message_that_waits_for_a_slot(deployment):
    deployment.limits["other"] = {"concurrency": 1}
    deployment.providers["other"].takes = 1.5
    before, moved = [await put_passed(deployment, uid, "one") for uid in ("before", "moved")]
    async with deployment.sending(CHAT_FIRST):
        await deployment.sent(before)
        await deployment.pause(route="chat-first", plugin="other")
        await asyncio.sleep(30)
        assert moved not in deployment.sent_at
        await deployment.resume()
        await deployment.sent(moved)


@pytest.mark.parametrize("scope", [{"client": "brand"}, {"route": "all"}, {"plugin": "other"}])
async def test_a_pause_holds_when_the_first_instance_turns_out_to_be_unavailable(deployment, scope):
    one = deployment.providers["one"]
    one.down, one.answers_in = True, 3.0
    message = await deployment.put("1", route="all")
    async with deployment.sending(Route(name="all", use=("one", "other"))):
        await asyncio.sleep(1.0)
        await deployment.pause(**scope)
        await asyncio.sleep(30)
        assert not deployment.sent_at
        await deployment.resume()
        await deployment.sent(message)


@pytest.mark.parametrize("scope", [{"client": "brand"}, {"plugin": "one"}])
async def test_a_pause_holds_when_the_contact_source_was_slow(deployment, scope):
    deployment.users.takes = 1.5
    message = await deployment.put("1", route="all")
    async with deployment.sending(Route(name="all", use=("one",))):
        await asyncio.sleep(1.0)
        await deployment.pause(**scope)
        await asyncio.sleep(30)
        assert not deployment.sent_at
        await deployment.resume()
        await deployment.sent(message)


async def test_an_instance_that_was_paused_during_the_lookup_is_passed_over(deployment):
    deployment.users.takes = 1.5
    message = await deployment.put("1", route="all")
    async with deployment.sending(Route(name="all", use=("one", "other"))):
        await asyncio.sleep(1.0)
        await deployment.pause(plugin="one")
        await deployment.sent(message)
    assert message in deployment.providers["other"].at
