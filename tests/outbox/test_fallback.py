"""Messages of a route with next_after, in both stores."""

import pytest

from claiming import claim_due
from gatepost.model import Channel, Status, StatusEvent
from gatepost.outbox import Fallback, NewMessage, Policy, ReportedEvents, RetryOrder, SendResult, Try, new_id
from gatepost.outbox.cancellations import CancelIds, cancel_by_ids
from gatepost.outbox.states import State

MEMBERS = ("viber", "whatsapp", "sms")
POLICY = {"fallbacks": {(Channel.SMS, "im"): Fallback(MEMBERS, 120.0)}}
LIFETIME = 4 * 3600
OUTCOMES = {
    State.SENT: "sent",
    State.UNCERTAIN: "uncertain",
    State.REJECTED: "rejected",
    State.QUEUED: "unavailable",
}
ACCEPTED, DELIVERED, OPENED, FAILED, REJECTED = (
    Status.ACCEPTED,
    Status.DELIVERED,
    Status.OPENED,
    Status.FAILED,
    Status.REJECTED,
)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, place):
    """Return the location of an empty store of each kind."""
    if request.param == "postgresql":
        place.url = type(place.url)(request.getfixturevalue("postgres_server").new_database())
    return place


@pytest.fixture
async def store(place):
    async with place.opened(**POLICY) as outbox:
        yield outbox


class Message:
    """One message of the route, and what happens to it."""

    def __init__(self, store, clock, view_of):
        self.store, self.clock, self.view_of = store, clock, view_of
        self.id = new_id()

    async def put(self, route="im", lifetime=LIFETIME):
        message = NewMessage(
            id=self.id,
            client="brand",
            channel=Channel.SMS,
            route=route,
            uid=self.id,
            fingerprint=b"x" * 32,
            ext_user_id="anna",
            preview="",
            callback_url="https://crm.example/status",
            content=b"content",
            lifetime=lifetime,
        )
        await self.store.put(message)
        return self

    async def claim(self):
        (claim,) = await claim_due(self.store, Channel.SMS, 1, 30)
        return claim

    async def send(self, instance, state=State.SENT, claim=None, **fields):
        """Let this instance answer the claim that is due."""
        claim = claim or await self.claim()
        one = Try(instance=instance, outcome=OUTCOMES[state], provider_id=f"{instance}-1")
        return await self.store.finish(
            SendResult(
                id=claim.id, attempt=claim.attempt, state=state, instance=instance, tries=[one], **fields
            )
        )

    async def report(self, instance, *statuses, by_provider_id=False):
        ids = {"provider_id": f"{instance}-1"} if by_provider_id else {"message_id": self.id}
        events = [StatusEvent(status=status, code="7", **ids) for status in statuses]
        return await self.store.record(ReportedEvents(instance=instance, events=events))

    async def after(self, seconds):
        """Let time pass in which the gateway runs."""
        self.clock.advance(seconds)
        now = round(self.clock.now * 1000)
        await self.store._database.transact(
            lambda connection: connection.exec_driver_sql(f"UPDATE leases SET ends_at = {now}")
        )
        while (await self.store.sweep()).changes:
            pass

    async def view(self):
        return await self.view_of(self.store, self.id)

    async def reported(self):
        return [one.status for one in (await self.view()).statuses]

    async def state(self):
        return (await self.view()).state

    async def outcomes(self):
        return [(one.instance, one.outcome) for one in (await self.view()).tries]

    async def nothing_is_due(self):
        return await claim_due(self.store, Channel.SMS, 1, 30) == []


@pytest.fixture
async def message(store, clock, view_of):
    """Return a message that is stored and due."""
    return await Message(store, clock, view_of).put()


async def test_a_message_that_was_taken_waits_for_its_delivery(message, clock):
    await message.send("viber")

    view = await message.view()
    assert (view.state, view.due_at, view.instance) == ("awaiting", clock.now + 120, "viber")
    assert (await message.reported(), view.has_content, view.ended_at) == (["accepted"], True, None)
    assert await message.nothing_is_due()
    await message.after(119)
    assert await message.state() == "awaiting"


@pytest.mark.parametrize("status", [DELIVERED, OPENED, Status.COMPLAINED, Status.UNSUBSCRIBED])
async def test_nothing_more_is_sent_once_it_arrived(message, status):
    await message.send("viber")
    await message.report("viber", status)

    view = await message.view()
    assert (view.state, view.has_content, view.due_at) == ("sent", False, None)
    assert await message.reported() == ["accepted", status]
    await message.after(3600)
    assert await message.nothing_is_due()


async def test_each_wait_that_ends_moves_the_message_on(message):
    for instance in ("viber", "whatsapp"):
        await message.send(instance)
        await message.after(120)
    claim = await message.claim()

    assert claim.passed == {"viber", "whatsapp"}
    assert claim.content == b"content"
    assert (await message.view()).reason == "not delivered within the route's next_after"
    await message.send("sms", claim=claim)
    assert (await message.state(), await message.reported()) == ("sent", ["accepted"])
    assert (await message.view()).has_content is False


@pytest.mark.parametrize("status", [FAILED, REJECTED])
async def test_a_reported_failure_moves_the_message_on_at_once_and_is_not_told(message, status, store):
    await message.send("viber")
    store.queue_signals.take()
    assert (await message.report("viber", status)).new == 0

    assert store.queue_signals.take()[1]
    await message.report("viber", status)
    claim = await message.claim()
    assert claim.passed == {"viber"}
    assert await message.reported() == ["accepted"]
    assert await message.outcomes() == [("viber", status)]


async def test_a_refusal_moves_the_message_on_and_is_told_by_the_last_member_alone(message, store):
    await message.send("viber", State.REJECTED, reason="no template")
    assert await message.reported() == []
    await message.send("whatsapp", State.REJECTED)
    await message.send("sms", State.REJECTED, reason="bad number")

    assert (await message.state(), await message.reported()) == ("rejected", ["rejected"])
    assert (await message.view()).has_content is False
    assert store.end_counts[Channel.SMS, State.REJECTED] == 1


@pytest.mark.parametrize("status", [Status.UNSUBSCRIBED, Status.COMPLAINED])
async def test_what_the_user_said_keeps_the_message_from_the_other_members(message, status):
    await message.send("viber", State.REJECTED, status=status, code="21610")

    assert (await message.state(), await message.reported()) == ("rejected", ["rejected", status])
    assert await message.nothing_is_due()


async def test_what_the_user_said_is_told_while_an_earlier_member_may_still_deliver(message):
    await message.send("viber")
    await message.after(120)
    await message.send("whatsapp", State.REJECTED, status=Status.UNSUBSCRIBED)

    assert (await message.state(), await message.reported()) == ("awaiting", ["accepted", "unsubscribed"])
    await message.after(3600)
    assert await message.nothing_is_due()
    await message.report("viber", FAILED)
    assert (await message.state(), await message.reported()) == (
        "sent",
        ["accepted", "unsubscribed", "failed"],
    )


async def test_after_a_delivery_a_failure_of_another_device_changes_nothing(message):
    await message.send("viber")
    await message.report("viber", DELIVERED, REJECTED)
    await message.report("viber", FAILED)

    assert (await message.state(), await message.reported()) == ("sent", ["accepted", "delivered"])
    assert await message.outcomes() == [("viber", "delivered")]
    assert await message.nothing_is_due()


@pytest.mark.parametrize("by_provider_id", [True, False])
async def test_a_late_delivery_prevents_the_next_send(message, by_provider_id):
    await message.send("viber")
    await message.after(120)
    await message.report("viber", DELIVERED, by_provider_id=by_provider_id)

    assert (await message.state(), await message.reported()) == ("sent", ["accepted", "delivered"])
    assert await message.nothing_is_due()


@pytest.mark.parametrize("answer", [State.SENT, State.REJECTED, State.UNCERTAIN, State.QUEUED])
async def test_a_delivery_while_the_next_member_sends_stays_the_last_word(message, answer):
    await message.send("viber")
    await message.after(120)
    claim = await message.claim()
    await message.report("viber", DELIVERED)
    await message.send("whatsapp", answer, claim=claim)
    await message.report("whatsapp", FAILED)

    await message.after(LIFETIME)
    assert (await message.state(), await message.reported()) == ("sent", ["accepted", "delivered"])


async def test_an_earlier_members_failure_does_not_disturb_the_next(message):
    await message.send("viber")
    await message.after(120)
    claim = await message.claim()
    await message.report("viber", ACCEPTED, FAILED)
    assert await message.state() == "sending"
    await message.send("whatsapp", claim=claim)
    await message.report("viber", FAILED, ACCEPTED)

    view = await message.view()
    assert (view.state, view.instance, await message.reported()) == ("awaiting", "whatsapp", ["accepted"])


async def fail_at_all_but_the_first(message):
    """Let the last two members fail while the first may still deliver."""
    await message.send("viber")
    await message.after(120)
    await message.send("whatsapp")
    await message.report("whatsapp", FAILED)
    await message.send("sms")
    await message.report("sms", REJECTED)


async def test_a_failure_is_not_told_while_an_earlier_member_may_still_deliver(message):
    await fail_at_all_but_the_first(message)

    view = await message.view()
    assert (view.state, view.due_at, view.ended_at) == ("awaiting", view.expires_at, None)
    assert await message.reported() == ["accepted"]
    await message.after(LIFETIME - 121)
    assert await message.state() == "awaiting"
    await message.after(1)
    assert (await message.state(), await message.reported()) == ("failed", ["accepted", "failed"])


async def test_the_failure_is_told_when_the_earlier_member_fails_too(message):
    await fail_at_all_but_the_first(message)
    await message.report("viber", FAILED)

    assert (await message.state(), await message.reported()) == ("sent", ["accepted", "failed"])


async def test_the_earlier_members_late_delivery_ends_the_wait(message):
    await fail_at_all_but_the_first(message)
    await message.report("viber", DELIVERED, by_provider_id=True)

    assert (await message.state(), await message.reported()) == ("sent", ["accepted", "delivered"])


async def test_a_last_refusal_waits_for_an_earlier_member_too(message):
    await message.send("viber")
    await message.after(120)
    await message.send("whatsapp", State.REJECTED)
    await message.send("sms", State.REJECTED)

    assert (await message.state(), await message.reported()) == ("awaiting", ["accepted"])
    await message.report("viber", FAILED)
    assert (await message.state(), await message.reported()) == ("sent", ["accepted", "failed"])


async def test_a_user_who_is_gone_is_told_only_when_no_delivery_can_come(message):
    await message.send("viber")
    await message.after(120)
    claim = await message.claim()
    await message.store.finish(
        SendResult(id=claim.id, attempt=claim.attempt, state=State.REJECTED, reason="gone")
    )
    assert (await message.state(), await message.reported()) == ("awaiting", ["accepted"])

    await message.after(3600)
    assert await message.state() == "awaiting"
    await message.after(LIFETIME)
    assert (await message.state(), await message.reported()) == ("failed", ["accepted", "failed"])


async def test_a_user_who_is_gone_at_the_first_try_is_rejected(message):
    claim = await message.claim()
    await message.store.finish(SendResult(id=claim.id, attempt=claim.attempt, state=State.REJECTED))
    assert (await message.state(), await message.reported()) == ("rejected", ["rejected"])


async def test_a_lost_answer_counts_as_taken_but_tells_nothing(message, clock):
    await message.send("viber", State.UNCERTAIN, delay=30, reason="lost")

    view = await message.view()
    assert (view.state, view.due_at, await message.reported()) == ("awaiting", clock.now + 120, [])
    await message.after(120)
    assert (await message.claim()).passed == {"viber"}


async def test_a_lost_answer_of_the_last_member_is_uncertain(message):
    await message.send("viber", State.REJECTED)
    await message.send("whatsapp", State.REJECTED)
    await message.send("sms", State.UNCERTAIN, delay=30)
    assert await message.state() == "uncertain"
    await message.after(30)
    assert (await message.claim()).passed == {"viber", "whatsapp"}


async def test_when_the_first_was_unavailable_the_later_one_is_the_last(message):
    """What comes before a member is not tried after it: an SMS is not followed by a chat message."""
    await message.send("sms")
    assert await message.state() == "sent"


async def test_a_failure_is_not_forgotten_when_the_process_dies_before_the_answer(place, clock, view_of):
    async with place.opened(**POLICY) as store:
        message = await Message(store, clock, view_of).put()
        await message.claim()
        await message.report("viber", FAILED)
    async with place.opened(**POLICY) as store:
        message.store = store
        await message.after(60)
        for _ in range(2):
            await message.after(120)
        claim = await message.claim()
        assert claim.passed == {"viber"}
        assert await message.outcomes() == [("viber", "failed")]
        await message.send("whatsapp", State.REJECTED, claim=claim)
        await message.send("sms")
        await message.report("sms", FAILED)
        assert (await message.state(), await message.reported()) == ("sent", ["accepted", "failed"])


async def test_a_failure_is_not_forgotten_when_the_instance_was_unavailable_before(place, clock, view_of):
    async with place.opened(**POLICY) as store:
        message = await Message(store, clock, view_of).put()
        await message.send("viber", State.QUEUED)
        await message.claim()
        await message.report("viber", FAILED)
    async with place.opened(**POLICY) as store:
        message.store = store
        await message.after(60)
        for _ in range(2):
            await message.after(120)
        assert await message.outcomes() == [("viber", "unavailable"), ("viber", "failed")]
        await message.send("sms")
        await message.report("sms", FAILED)
        assert (await message.state(), await message.reported()) == ("sent", ["accepted", "failed"])


async def test_failures_of_two_members_whose_answers_were_lost_are_both_remembered(message):
    await message.claim()
    await message.report("viber", FAILED)
    await message.report("whatsapp", FAILED)
    assert await message.outcomes() == [("viber", "failed"), ("whatsapp", "failed")]


async def test_a_failure_that_overtakes_the_answer_counts(message):
    claim = await message.claim()
    await message.report("viber", FAILED)
    assert (await message.state(), await message.reported()) == ("sending", ["accepted"])
    await message.send("viber", claim=claim)

    assert (await message.claim()).passed == {"viber"}
    assert await message.reported() == ["accepted"]


async def test_a_failure_of_the_last_member_that_overtakes_its_answer_is_told(message):
    await message.send("viber", State.REJECTED)
    await message.send("whatsapp", State.REJECTED)
    claim = await message.claim()
    await message.report("sms", FAILED)
    await message.send("sms", claim=claim)

    assert (await message.state(), await message.reported()) == ("sent", ["accepted", "failed"])


async def test_a_report_that_the_provider_has_it_starts_the_wait_before_the_answer(message, clock):
    claim = await message.claim()
    await message.report("viber", ACCEPTED)
    view = await message.view()
    assert (view.state, view.instance, view.due_at) == ("awaiting", "viber", clock.now + 120)

    clock.advance(10)
    assert await message.send("viber", claim=claim)
    view = await message.view()
    assert (view.state, view.due_at, view.tries[0].provider_id) == ("awaiting", clock.now + 110, "viber-1")


@pytest.mark.parametrize("status", [ACCEPTED, FAILED])
async def test_an_unavailable_member_that_took_the_message_after_all_changes_nothing(message, clock, status):
    claim = await message.claim()
    await message.send("whatsapp", claim=claim)
    clock.advance(60)
    await message.report("viber", status)
    view = await message.view()
    assert (view.state, view.instance, view.due_at) == ("awaiting", "whatsapp", clock.now + 60)
    await message.report("viber", FAILED)
    assert (await message.state(), await message.reported()) == ("awaiting", ["accepted"])

    await message.after(60)
    assert (await message.claim()).passed == {"viber", "whatsapp"}


async def test_the_later_of_two_members_that_have_it_is_waited_for(message, clock):
    """The first member's answer was no answer at all, but it had the message; then the next one took it too."""
    claim = await message.claim()
    await message.report("viber", ACCEPTED)
    clock.advance(10)
    await message.send("whatsapp", claim=claim)
    view = await message.view()
    assert (view.state, view.instance, view.due_at) == ("awaiting", "whatsapp", clock.now + 120)


async def test_a_message_that_expires_first_fails(store, clock, view_of):
    message = await Message(store, clock, view_of).put(lifetime=60)
    await message.send("viber")
    await message.after(60)
    assert (await message.state(), await message.reported()) == ("failed", ["accepted", "failed"])
    await message.report("viber", DELIVERED)
    assert await message.reported() == ["accepted", "failed", "delivered"]


async def test_an_instance_that_is_not_on_the_route_can_not_move_the_message(message):
    await message.send("viber")
    await message.report("vonage-us", FAILED)
    assert await message.outcomes() == [("viber", "sent")]
    assert (await message.state(), await message.reported()) == ("awaiting", ["accepted"])


async def test_other_routes_are_as_before(store, clock, view_of):
    message = await Message(store, clock, view_of).put(route="sms")
    await message.send("viber")
    assert await message.state() == "sent"
    await message.report("viber", DELIVERED, FAILED)
    assert await message.reported() == ["accepted", "delivered", "failed"]


async def test_a_message_that_waits_is_not_queued_by_an_operator(message):
    await message.send("viber")
    order = RetryOrder([message.id], "me", {Channel.SMS: 60.0})
    (result,) = await message.store.retry(order)
    assert "still waits for its delivery" in result.problem


async def test_a_message_that_waits_can_be_cancelled(message):
    await message.send("viber")
    ((result,), _) = await message.store.change(cancel_by_ids, CancelIds([message.id], "me"))
    assert result.cancelled
    await message.after(120)
    assert await message.nothing_is_due()
    await message.report("viber", FAILED)
    assert (await message.state(), await message.reported()) == ("cancelled", ["accepted", "rejected"])
    await message.report("viber", DELIVERED)
    assert await message.reported() == ["accepted", "rejected", "delivered"]


async def test_an_operators_retry_uses_the_whole_route_again(store, clock, view_of):
    message = await Message(store, clock, view_of).put(lifetime=200)
    await message.send("viber")
    await message.after(120)
    await message.after(80)
    assert await message.state() == "failed"
    await message.store.retry(RetryOrder([message.id], "me", {Channel.SMS: 600.0}))
    assert (await message.claim()).passed == frozenset()


async def test_a_restart_in_the_middle_changes_nothing(place, clock, view_of):
    async with place.opened(**POLICY) as store:
        message = await Message(store, clock, view_of).put()
        await message.send("viber")
        await message.after(1)
    async with place.opened(**POLICY) as store:
        message.store = store
        await message.after(118)
        assert await message.state() == "awaiting"
        await message.after(1)
        assert (await message.claim()).passed == {"viber"}


async def test_a_route_without_next_after_any_more_moves_its_messages_on(place, clock, view_of):
    async with place.opened(**POLICY) as store:
        message = await Message(store, clock, view_of).put()
        await message.send("viber")
    async with place.opened() as store:
        message.store = store
        await message.after(120)
        claim = await message.claim()
        assert claim.passed == {"viber"}
        await message.send("sms", claim=claim)
        assert await message.state() == "sent"


async def test_the_depth_counts_what_waits(message):
    await message.send("viber")
    assert (await message.store.depth()).messages == {("sms", "awaiting"): 1}


# Times in which no report can come in.


async def test_the_wait_stands_still_while_no_gateway_runs(place, clock, view_of):
    async with place.opened(**POLICY) as store:
        message = await Message(store, clock, view_of).put()
        await message.after(0)
        await message.send("viber")
        await message.after(60)
    clock.advance(3600)
    async with place.opened(**POLICY) as store:
        message.store = store
        await store.sweep()
        assert (await message.state(), (await message.view()).due_at) == ("awaiting", clock.now + 60)
        await message.report("viber", DELIVERED)
        assert await message.reported() == ["accepted", "delivered"]


async def test_no_wait_becomes_longer_than_a_whole_one_or_than_the_lifetime(place, clock, view_of):
    async with place.opened(**POLICY) as store:
        await store.sweep()
        clock.advance(9000)
        begun = await Message(store, clock, view_of).put()
        await begun.send("viber")
        short = await Message(store, clock, view_of).put(lifetime=100)
        await short.send("viber")
        await store.sweep()

        assert (await begun.view()).due_at == clock.now + 120
        assert (await short.view()).due_at == clock.now + 100


async def test_a_running_gateway_extends_no_wait(message):
    await message.after(0)
    await message.send("viber")
    for _ in range(12):
        assert await message.state() == "awaiting"
        await message.after(10)
    assert await message.state() == "queued"


async def test_the_last_wait_is_not_extended(place, clock, view_of):
    async with place.opened(**POLICY) as store:
        message = await Message(store, clock, view_of).put()
        await fail_at_all_but_the_first(message)
        await message.after(100)
        view = await message.view()
        assert view.due_at == view.expires_at


async def test_the_wait_stands_still_while_the_instances_reports_are_refused(message, store, clock):
    await store.sweep()
    await message.send("viber")
    for _ in range(30):
        clock.advance(10)
        await store.sweep({"viber"})
    assert await message.state() == "awaiting"

    # The lease of the refusal, which all replicas see, has ended after 30 s.
    for _ in range(3):
        clock.advance(10)
        await store.sweep()
    assert await message.state() == "awaiting"
    for _ in range(11):
        clock.advance(10)
        await store.sweep()
    assert await message.state() == "queued"


async def test_refused_reports_of_one_instance_do_not_hold_the_messages_of_another(message, store, clock):
    await store.sweep()
    await message.send("viber")
    for _ in range(12):
        clock.advance(10)
        await store.sweep({"whatsapp"})
    assert await message.state() == "queued"


async def test_refused_reports_hold_a_message_no_longer_than_its_lifetime(store, clock, view_of):
    message = await Message(store, clock, view_of).put(lifetime=200)
    await message.send("viber")
    for _ in range(20):
        clock.advance(10)
        await store.sweep({"viber"})
    assert (await message.state(), await message.reported()) == ("failed", ["accepted", "failed"])


async def test_without_such_a_route_nothing_is_written_while_idle(place):
    async with place.opened() as store:
        await store.sweep()
        rows = await store._database.transact(
            lambda connection: connection.exec_driver_sql("SELECT count(*) FROM leases").scalar()
        )
        assert rows == 0


async def test_a_clock_that_was_ahead_does_not_prolong_the_wait(message, clock):
    clock.advance(3600)
    await message.send("viber")
    clock.now -= 3600
    await message.after(0)
    assert (await message.view()).due_at == clock.now + 120


def test_the_members_after_those_that_passed():
    fallback = Fallback(("a", "b", "c"), 60.0)
    assert fallback.after(()) == ("a", "b", "c")
    assert fallback.after({"a"}) == ("b", "c")
    assert fallback.after({"b"}) == ("c",)
    assert fallback.after({"a", "c"}) == ()
    assert fallback.after({"gone"}) == ("a", "b", "c")
    assert Policy().fallbacks == {}
