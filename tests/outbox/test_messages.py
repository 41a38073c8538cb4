import asyncio
import traceback

import pytest
from sqlalchemy import event, select
from structlog.testing import capture_logs

from claiming import claim_callbacks, claim_due
from gatepost.errors import StoreBusy
from gatepost.model import Channel, Status, StatusEvent
from gatepost.outbox import Policy, ReportedEvents, SendResult, StoredMessage, group_commit, new_id
from gatepost.outbox.schema import contents
from gatepost.outbox.states import State


def commits(outbox):
    """Count commits from now on; return a list of one number."""
    count = [0]

    @event.listens_for(outbox._database.engine, "commit")
    def _counted(_connection):
        count[0] += 1

    return count


async def test_a_new_message_is_stored_under_its_own_id(store, new):
    message = new()

    assert await store.put(message) == StoredMessage(message.id, message.fingerprint)


async def test_a_repeated_uid_returns_the_first_message(store, new):
    first, again = new(), new(fingerprint=b"\x02" * 32)
    await store.put(first)

    assert await store.put(again) == StoredMessage(first.id, first.fingerprint)


async def test_only_the_first_message_of_a_uid_is_sent(store, new):
    await store.put(new(content=b"first"))
    await store.put(new(content=b"second"))

    assert [claim.content for claim in await claim_due(store, Channel.EMAIL, 10, 30)] == [b"first"]


async def test_nothing_is_stored_of_a_message_with_a_known_uid(store, new):
    first = new()
    await asyncio.gather(store.put(first), store.put(new()))
    await store.put(new())

    message_ids = await store._database.transact(
        lambda connection: connection.execute(select(contents.c.message_id)).all()
    )

    assert message_ids == [(first.id,)]


@pytest.mark.parametrize(
    "other", [{"client": "another"}, {"channel": Channel.SMS}, {"uid": "uid-2"}, {"uid": "UID-1"}], ids=str
)
async def test_another_client_channel_or_uid_is_another_message(store, new, other):
    first, second = new(), new(**other)

    assert [(await store.put(one)).id for one in (first, second)] == [first.id, second.id]


async def test_fifty_concurrent_messages_with_one_uid_get_the_same_id(store, new):
    messages = [new() for _ in range(50)]

    stored = await asyncio.gather(*(store.put(message) for message in messages))

    assert len({one.id for one in stored}) == 1
    assert stored[0].id in {message.id for message in messages}
    assert len(await claim_due(store, Channel.EMAIL, 99, 30)) == 1


async def test_known_and_new_uids_in_one_batch_are_distinguished(store, new):
    known = new("known")
    await store.put(known)

    stored = await asyncio.gather(*(store.put(new(uid)) for uid in ("known", "a", "b", "a")))

    assert stored[0].id == known.id
    assert stored[1].id == stored[3].id
    assert len({one.id for one in stored}) == 3


async def test_a_uid_is_known_after_a_restart(place, new):
    first = new()
    async with place.opened() as outbox:
        await outbox.put(first)
    async with place.opened() as outbox:
        assert (await outbox.put(new())).id == first.id


async def test_a_uid_is_known_after_its_message_was_sent(store, new, put_and_claim):
    claim = await put_and_claim(store)
    await store.finish(SendResult(id=claim.id, attempt=claim.attempt, state=State.SENT))

    assert (await store.put(new())).id == claim.id
    assert await claim_due(store, Channel.EMAIL, 1, 30) == []


async def test_only_a_stored_message_is_found(store, new):
    message = new()
    await store.put(message)

    assert await store.find("brand", Channel.EMAIL, "uid-1") == StoredMessage(message.id, message.fingerprint)
    assert await store.find("brand", Channel.SMS, "uid-1") is None
    assert await store.find("other", Channel.EMAIL, "uid-1") is None
    assert await store.find("brand", Channel.EMAIL, "uid-1 ") is None


async def test_a_uid_may_be_any_text(store, new):
    uids = ["", " ", "'; DROP TABLE messages; --", "%", "_", "\u00e9", "e\u0301", "😀" * 100]

    stored = await asyncio.gather(*(store.put(new(uid)) for uid in uids))

    assert len({one.id for one in stored}) == len(uids)


async def test_storing_a_message_signals_its_queue_only(store, new):
    store.queue_signals.take()
    await store.put(new(channel=Channel.SMS, route="codes"))
    queues, others = store.queue_signals.take()
    assert [(one.channel, one.route, one.client) for one in queues] == [(Channel.SMS, "codes", "brand")]
    assert not others
    assert store.queue_signals.event.is_set()


async def test_a_thousand_concurrent_messages_share_a_few_commits(store, new):
    count = commits(store)

    await asyncio.gather(*(store.put(new(f"uid-{n}")) for n in range(1000)))

    # A batch has 256 calls; the first transaction may begin with a few only.
    assert count[0] <= 6


async def test_different_kinds_of_work_share_a_commit(store, new, put_and_claim):
    claims = [await put_and_claim(store, f"uid-{n}") for n in range(10)]
    count = commits(store)
    report = ReportedEvents(instance="x", events=[StatusEvent(status=Status.OPENED, message_id=claims[0].id)])

    await asyncio.gather(
        store.put(new("another")),
        *(store.finish(SendResult(id=c.id, attempt=c.attempt, state=State.SENT)) for c in claims),
        *(store.renew(claim, 30) for claim in claims),
        store.record(report),
        claim_callbacks(store, 10, 30),
        store.sweep(),
    )

    # At most one transaction per lane.
    assert count[0] <= 4


async def test_a_message_that_cannot_be_stored_does_not_affect_others(store, new):
    invalid = new("invalid", content="not bytes")
    valid = [new(f"uid-{n}") for n in range(20)]

    answers = await asyncio.gather(
        *(store.put(message) for message in (*valid[:10], invalid, *valid[10:])), return_exceptions=True
    )

    assert isinstance(answers.pop(10), StoreBusy)
    assert [answer.id for answer in answers] == [message.id for message in valid]
    assert not store.failure.done()
    assert await store.find("brand", Channel.EMAIL, "invalid") is None


async def test_an_error_does_not_quote_the_values(store, new):
    with capture_logs() as logged, pytest.raises(StoreBusy) as caught:
        await store.put(new(ext_user_id="canary-7", lifetime="canary-7: no seconds"))

    (entry,) = logged
    assert entry["event"] == "outbox_call_failed"
    text = "".join(traceback.format_exception(entry["exc_info"]))
    assert "canary" not in str(caught.value) + text


async def test_a_call_during_the_gathering_shares_the_commit(store, new, monkeypatch, set_ahead):
    monkeypatch.setattr(group_commit, "GATHER_INTERVAL", 60.0)
    transact, sizes = store._database.transact, []

    def counted(work):
        sizes.append(len(work.args[0]))
        return transact(work)

    monkeypatch.setattr(store._database, "transact", counted)
    first = [asyncio.create_task(store.put(new(f"uid-{number}"))) for number in range(2)]
    await asyncio.sleep(0.05)
    assert sizes == []
    tasks = [asyncio.create_task(store.put(new("uid-later"))), *first]
    while not all(one.done() for one in tasks):
        await asyncio.sleep(0.01)
        set_ahead(60)
    assert sizes == [3]


async def test_a_single_call_does_not_wait_for_others(store, new, monkeypatch):
    monkeypatch.setattr(group_commit, "GATHER_INTERVAL", 60.0)
    async with asyncio.timeout(30):
        for number in range(3):
            await store.put(new(f"uid-{number}"))


async def test_calls_beyond_the_limit_fail_immediately(store, new, monkeypatch):
    monkeypatch.setattr(group_commit, "MAX_PENDING", 10)

    answers = await asyncio.gather(*(store.put(new(f"uid-{n}")) for n in range(15)), return_exceptions=True)

    assert [isinstance(answer, StoreBusy) for answer in answers] == [False] * 10 + [True] * 5


async def test_a_cancelled_call_is_done_all_the_same(store, new):
    message = new()
    task = asyncio.create_task(store.put(message))
    await asyncio.sleep(0)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (await store.find("brand", Channel.EMAIL, "uid-1")).id == message.id


async def test_calls_that_wait_at_the_close_are_still_done(place, new):
    async with place.opened() as outbox:
        tasks = [asyncio.create_task(outbox.put(new(f"uid-{n}"))) for n in range(600)]
        await asyncio.sleep(0)
    stored = await asyncio.gather(*tasks)
    assert len({one.id for one in stored}) == 600

    with pytest.raises(StoreBusy, match="shutting down"):
        await outbox.put(new("later"))


def test_ids_sort_by_time_and_are_uuids_of_version_7():
    ids = [new_id() for _ in range(1000)]

    assert len(set(ids)) == 1000
    assert all(len(one) == 36 and one[14] == "7" and one[19] in "89ab" for one in ids)
    assert [one[:13] for one in ids] == sorted(one[:13] for one in ids)


def test_the_default_policy():
    assert Policy() == Policy(uncertain_wait=120, hold_uncertain=False, retention=30 * 86_400)
