"""Cancelling messages: what is cancelled and what is not, what Smartico hears, in steps. On both stores."""

import pytest
from msgspec import json
from sqlalchemy import func, select

from claiming import claim_callbacks, claim_due, result_of
from gatepost.content import EmailContent, SmsContent, encode_content
from gatepost.content_keys import ContentKeys
from gatepost.model import Channel, Mailbox, Status, StatusEvent
from gatepost.outbox import ReportedEvents, RetryOrder, audit, cancellations, message_filter
from gatepost.outbox.cancellations import CancelIds, CancelStep, Progress
from gatepost.outbox.message_filter import MessageFilter
from gatepost.outbox.schema import contents
from gatepost.outbox.states import CallbackState, State

pytestmark = pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)

BRAND = MessageFilter(client="brand")


def email(subject="Spring sale", sender="news@brand.example", html="<p>hello</p>"):
    return encode_content(EmailContent(sender=Mailbox(sender, "Brand"), subject=subject, html=html))


async def cancel(store, wanted=BRAND, reason="", progress=None):
    """Take all steps of an order; return its last progress."""
    while progress is None or not progress.done:
        progress = await store.cancel(cancellations.cancel, CancelStep(wanted, "maria", reason, progress))
    return progress


async def count(store, clock, wanted):
    progress = Progress(accepted_until=round(clock() * 1000))
    while not progress.done:
        progress = await store._database.transact(
            lambda connection, before=progress: cancellations.count(
                connection, wanted, before, ContentKeys(), 0.0
            )
        )
    return progress.found


async def entries(store):
    found = await store._database.transact(lambda connection: audit.list_entries(connection, 100))
    return [(one.actor, one.operation, dict(one.target), one.reason) for one in found]


async def contents_left(store):
    query = select(func.count()).select_from(contents)
    return await store._database.transact(lambda connection: connection.execute(query).scalar_one())


async def test_a_cancelled_message_is_erased_and_smartico_hears_rejected(store, new, view_of):
    message = new(content=email())
    await store.put(message)

    assert (await cancel(store, reason="wrong prices")).found == 1

    view = await view_of(store, message.id)
    assert (view.state, view.has_content, view.due_at) == (State.CANCELLED, False, None)
    assert view.reason == "cancelled by the operator: wrong prices"
    assert view.ended_at is not None
    assert [one.status for one in view.statuses] == ["rejected"]
    assert await claim_due(store, Channel.EMAIL, 10, 30) == []
    assert [one.status for one in await claim_callbacks(store, 10, 45)] == [Status.REJECTED]
    assert store.end_counts[Channel.EMAIL, State.CANCELLED] == 1


async def test_only_messages_that_wait_are_cancelled(store, new, clock, put_and_claim, view_of):
    sending = await put_and_claim(store, "sending")
    uncertain = await put_and_claim(store, "uncertain")
    await store.finish(result_of(uncertain, State.UNCERTAIN, delay=60))
    sent = await put_and_claim(store, "sent")
    await store.finish(result_of(sent))
    failed = await put_and_claim(store, "failed")
    await store.finish(result_of(failed, State.FAILED))
    await store.put(queued := new("queued"))

    progress = await cancel(store)

    assert (progress.found, progress.maybe_sent) == (1, 2)
    states = {
        one.id: (await view_of(store, one.id)).state for one in (sending, uncertain, sent, failed, queued)
    }
    assert states == {
        sending.id: State.SENDING,
        uncertain.id: State.UNCERTAIN,
        sent.id: State.SENT,
        failed.id: State.FAILED,
        queued.id: State.CANCELLED,
    }


async def test_a_held_message_is_cancelled(place, new, clock, put_and_claim, view_of):
    async with place.opened(uncertain_wait=5.0, hold_uncertain=True) as store:
        claim = await put_and_claim(store)
        await store.finish(result_of(claim, State.UNCERTAIN))
        clock.advance(6)
        assert (await store.sweep()).held == 1

        assert (await cancel(store, MessageFilter(client="brand", states=(State.QUEUED,)))).found == 0
        assert (await cancel(store)).found == 1

        assert (await view_of(store, claim.id)).state == State.CANCELLED
        # A report proves that a provider had it after all.
        event = StatusEvent(status=Status.DELIVERED, message_id=claim.id)
        await store.record(ReportedEvents(instance="box", events=[event]))
        view = await view_of(store, claim.id)
        assert view.state == State.SENT
        assert [one.status for one in view.statuses] == ["rejected", "delivered"]


async def test_a_suspect_is_cancelled(place, new, view_of, clock):
    message = new()

    async def sweep(store):
        for _ in range(2):
            clock.advance(2)
            await store.sweep()

    for death in range(2):
        async with place.opened(uncertain_wait=0.001) as store:
            if not death:
                await store.put(message)
            await sweep(store)
            assert await claim_due(store, Channel.EMAIL, 1, 1.0)
    async with place.opened(uncertain_wait=0.001) as store:
        await sweep(store)
        assert (await view_of(store, message.id)).state == State.SUSPECT

        assert (await cancel(store)).found == 1

        assert (await view_of(store, message.id)).state == State.CANCELLED


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"client": "brand"}, "sale login sms"),
        ({"client": "other"}, "other"),
        ({"client": "nobody"}, ""),
        ({"channel": Channel.SMS}, "sms"),
        ({"route": "uk"}, "sms"),
        ({"user": "bert"}, "login"),
        ({"sender": "NEWS@brand.example"}, "sale other"),
        ({"sender": "news@brand"}, ""),
        ({"sender": "brand"}, "sms"),
        ({"text": "*sale*"}, "sale sms other"),
        ({"text": "sale"}, ""),
        ({"text": "*hello*"}, ""),
        ({"text": "*sale*", "channel": Channel.EMAIL, "client": "brand"}, "sale"),
        ({"since": 1_800_000_010.0}, "sms other"),
        ({"until": 1_800_000_010.0}, "sale login"),
        ({"since": 1_800_000_005.0, "until": 1_800_000_015.0}, "login sms"),
    ],
)
async def test_all_conditions_must_hold(store, new, clock, view_of, wanted, expected):
    login = email("Your login code", "no-reply@brand.example", "a sale is in the HTML")
    text = encode_content(SmsContent(sender="Brand", text="Big SALE today"))
    all_messages = [
        new("sale", content=email()),
        new("login", content=login, ext_user_id="bert"),
        new("sms", content=text, channel=Channel.SMS, route="uk"),
        new("other", content=email(), client="other"),
    ]
    for message in all_messages:
        await store.put(message)
        clock.advance(5)

    assert await count(store, clock, MessageFilter(**wanted)) == len(expected.split())
    assert (await cancel(store, MessageFilter(**wanted))).found == len(expected.split())

    cancelled = [one.uid for one in all_messages if (await view_of(store, one.id)).state == State.CANCELLED]
    assert cancelled == expected.split()


async def test_content_that_cannot_be_read_matches_no_text(store, new):
    await store.put(new(content=b"\xc1"))

    assert (await cancel(store, MessageFilter(text="*"))).found == 0


async def test_the_steps_of_a_large_order_cover_every_message_once(store, new, clock, monkeypatch):
    monkeypatch.setattr(cancellations, "STEP_TIME", 0.0)
    monkeypatch.setattr(cancellations, "SHARED_STEP_TIME", 0.0)
    monkeypatch.setattr(message_filter, "_select_page", message_filter._select_page.limit(3))
    monkeypatch.setattr(message_filter, "PAGE_ROWS", 3)
    for number in range(20):
        sale = number % 2
        # Several are due at the same moment, and in two queues.
        await store.put(
            new(f"{number}", content=email("sale" if sale else "news"), route=f"{number % 4 // 2}")
        )
        clock.advance(number % 3)

    progress, steps = None, 0
    while progress is None or not progress.done:
        before = progress.found if progress else 0
        order = CancelStep(MessageFilter(text="sale"), "maria", "why", progress)
        progress = await store.cancel(cancellations.cancel, order)
        assert progress.found - before <= 3
        steps += 1

    assert (progress.found, await contents_left(store)) == (10, 10)
    assert steps > 6
    filters = {"text": "sale"}
    assert await entries(store) == [
        ("maria", "cancel", {**filters, "cancelled": 10, "maybe_sent": 0}, "why"),
        ("maria", "cancel-begin", filters, "why"),
    ]


async def test_an_order_of_one_step_is_recorded_once(store, new, monkeypatch):
    monkeypatch.setattr(cancellations, "STEP_TIME", 60.0)
    monkeypatch.setattr(cancellations, "SHARED_STEP_TIME", 60.0)
    await store.put(new())

    await cancel(store, MessageFilter(client="brand", since=1_700_000_000.0), reason="stop")

    target = {"client": "brand", "since": "2023-11-14T22:13:20+00:00", "cancelled": 1, "maybe_sent": 0}
    assert await entries(store) == [("maria", "cancel", target, "stop")]


async def test_large_contents_are_erased_in_small_pages(store, new, monkeypatch):
    monkeypatch.setattr(cancellations, "STEP_TIME", 0.0)
    monkeypatch.setattr(cancellations, "SHARED_STEP_TIME", 0.0)
    for number in range(3):
        await store.put(new(f"{number}", content=bytes(1_500_000)))

    progress = await store.cancel(cancellations.cancel, CancelStep(BRAND, "maria"))

    assert progress.found == 1
    assert (await cancel(store, progress=progress)).found == 3


async def test_what_is_accepted_after_the_beginning_stays(store, new, clock, monkeypatch):
    monkeypatch.setattr(cancellations, "STEP_TIME", 0.0)
    monkeypatch.setattr(cancellations, "SHARED_STEP_TIME", 0.0)
    monkeypatch.setattr(message_filter, "_select_page", message_filter._select_page.limit(1))
    monkeypatch.setattr(message_filter, "PAGE_ROWS", 1)
    await store.put(new("before"))
    progress = await store.cancel(cancellations.cancel, CancelStep(BRAND, "maria"))
    assert (progress.found, progress.done) == (1, False)
    clock.advance(1)
    await store.put(new("after"))

    assert (await cancel(store, progress=progress)).found == 1
    assert [claim.content for claim in await claim_due(store, Channel.EMAIL, 10, 30)] == [b"content of after"]


async def test_messages_are_cancelled_by_their_ids(store, new, put_and_claim, view_of):
    sending = await put_and_claim(store, "sending")
    await store.put(queued := new("queued"))
    unknown = new("unknown").id

    order = CancelIds([queued.id, sending.id, unknown], "maria", "stop")
    results = await store.cancel(cancellations.cancel_by_ids, order)

    assert [(one.cancelled, one.problem) for one in results] == [
        (True, ""),
        (False, "it is being sent now"),
        (False, "there is no such message"),
    ]
    assert (await view_of(store, queued.id)).state == State.CANCELLED
    targets = [
        {"client": "brand", "messages": 2, "ids": [queued.id, sending.id], "cancelled": 1},
        {"messages": 1, "ids": [unknown], "cancelled": 0},
    ]
    assert await entries(store) == [("maria", "cancel", target, "stop") for target in reversed(targets)]
    (again,) = await store.cancel(cancellations.cancel_by_ids, CancelIds([queued.id], "maria"))
    assert again.problem == "it is cancelled already"


async def test_a_cancelled_message_is_not_retried_and_its_uid_stays_known(store, new):
    message = new()
    await store.put(message)
    await cancel(store)

    (retry,) = await store.retry(RetryOrder([message.id], "maria", dict.fromkeys(Channel, 60.0)))

    assert (retry.queued, "cancelled" in retry.problem) == (False, True)
    assert (await store.put(new())).id == message.id


async def test_a_message_without_a_callback_url_is_only_recorded(store, new, view_of):
    message = new(callback_url="")
    await store.put(message)

    await cancel(store)

    view = await view_of(store, message.id)
    assert [(one.status, one.callback_state) for one in view.statuses] == [("rejected", CallbackState.NONE)]


async def test_a_receipt_that_comes_too_late_still_counts(store, put_and_claim, view_of):
    claim = await put_and_claim(store)
    await store.release_claims([])
    assert (await cancel(store)).found == 1

    assert await store.finish(result_of(claim))

    assert (await view_of(store, claim.id)).state == State.SENT


async def test_an_old_message_is_pruned_after_its_cancellation(place, new, clock, view_of):
    async with place.opened(retention=100.0) as store:
        message = new(callback_url="")
        await store.put(message)
        await cancel(store)
        clock.advance(101)

        assert await store.prune() == 1

        assert await view_of(store, message.id) is None


def test_progress_survives_the_way_to_the_command_and_back(place):
    cursor = message_filter.Cursor(queue=1, state=State.HELD, due_at=5, id="x")
    progress = Progress(accepted_until=7, cursor=cursor, found=2)

    assert json.decode(json.encode(progress), type=Progress) == progress


async def test_the_audit_log_keeps_no_address_of_a_pattern(store, new):
    await store.put(new(content=email(subject="For eve@players.example")))

    done = await cancel(store, MessageFilter(client="brand", text="*eve@players.example*"))

    assert done.found == 1
    texts = {target["text"] for _actor, _operation, target, _reason in await entries(store)}
    assert len(texts) == 1
    assert "eve@" not in texts.pop()


@pytest.mark.parametrize(
    ("sender", "stored"),
    [("eve@players.example", "@players.example"), ("+447700900123", "[redacted]"), ("Amazing", "Amazing")],
)
async def test_the_audit_log_keeps_no_address_of_a_sender(store, sender, stored):
    await cancel(store, MessageFilter(sender=sender))

    assert {target["sender"] for _actor, _operation, target, _reason in await entries(store)} == {stored}
