"""The audit log in a real store: written with the change, bounded, and never deleted."""

import json
from functools import partial

import pytest

from claiming import claim_due
from gatepost.errors import StoreBusy
from gatepost.model import Channel, Secret
from gatepost.outbox import Policy, RetryOrder, SendResult, audit, cancellations, new_id, open_outbox, retries
from gatepost.outbox.audit import AuditEntry, AuditFilter
from gatepost.outbox.cancellations import CancelIds
from gatepost.outbox.states import State

LIFETIMES = {Channel.EMAIL: 60.0, Channel.SMS: 60.0}


@pytest.fixture
def entries():
    """Return a function for the newest entries of the audit log, the newest first."""

    async def read(outbox, limit=100):
        return await outbox._database.transact(lambda connection: audit.list_entries(connection, limit))

    return read


async def failed_message(outbox, new):
    message = new(new_id(), callback_url="")
    await outbox.put(message)
    (claim,) = await claim_due(outbox, Channel.EMAIL, 1, 30.0)
    await outbox.finish(SendResult(id=claim.id, attempt=claim.attempt, state=State.FAILED))
    return message.id


async def test_a_retry_is_recorded_with_its_operator_its_messages_and_their_number(
    store, new, clock, entries
):
    identity = await failed_message(store, new)
    unknown = new_id()
    clock.advance(5)

    await store.retry(RetryOrder([identity, unknown], "root (sudo: maria)", LIFETIMES))

    other, entry = await entries(store)
    assert (entry.actor, entry.operation, entry.reason) == ("root (sudo: maria)", "retry", "")
    assert entry.target == {"client": "brand", "messages": 1, "ids": [identity], "queued": 1}
    assert entry.recorded_at == clock.now
    assert other.target == {"messages": 1, "ids": [unknown], "queued": 0}


async def test_an_operation_on_messages_of_two_clients_has_an_entry_for_each(store, new, entries):
    one, two = new("uid-1"), new("uid-2", client="other")
    for message in (one, two):
        await store.put(message)
    ids = [one.id, two.id]
    await store.retry(RetryOrder(ids, "maria", LIFETIMES))
    await store.tell(RetryOrder(ids, "maria"))
    await store.cancel(cancellations.cancel_by_ids, CancelIds(ids, "maria", "stop"))

    for client, identity in (("brand", one.id), ("other", two.id)):
        found = await store._database.transact(
            partial(audit.find_rows, wanted=AuditFilter(clients=[client]), limit=9)
        )
        assert [json.loads(row.target) for row in found] == [
            {"client": client, "messages": 1, "ids": [identity], **counts}
            for counts in ({"cancelled": 1}, {"callbacks": 0}, {"queued": 0})
        ]


@pytest.mark.parametrize(
    ("target", "is_found"),
    [
        ({"client": "brand"}, True),
        ({"clients": ["brand"]}, True),
        ({"clients": ["brand", "second"]}, True),
        ({"client": "second"}, True),
        ({"client": "Brand"}, False),
        ({"client": "brand_"}, False),
        ({"clients": ["brand", "other"]}, False),
        ({"clients": ["brand", "second", "other"]}, False),
        ({"text": 'say "client":"brand"'}, False),
        ({"channel": "sms"}, False),
        ({}, False),
    ],
)
async def test_an_entry_is_of_some_clients_if_it_names_no_other(store, target, is_found):
    await store.change(audit.append, AuditEntry(actor="maria", operation="x", target=target))

    wanted = AuditFilter(clients=["brand", "second"])
    found = await store._database.transact(partial(audit.find_rows, wanted=wanted, limit=9))
    assert len(found) == is_found
    assert (
        await store._database.transact(partial(audit.operations, clients=wanted.clients)) == ["x"] * is_found
    )


async def test_a_retry_of_callbacks_is_recorded(store, entries):
    unknown = new_id()

    await store.tell(RetryOrder([unknown], "maria"))

    (entry,) = await entries(store)
    assert (entry.actor, entry.operation) == ("maria", "tell")
    assert entry.target == {"messages": 1, "ids": [unknown], "callbacks": 0}


async def test_a_retry_that_is_not_committed_is_not_recorded(store, new, entries, monkeypatch, view_of):
    """The change and its record are in one commit: without the record there is no change either."""
    identity = await failed_message(store, new)

    def refuse(*_arguments):
        raise StoreBusy("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(retries.audit, "append", refuse)
        with pytest.raises(StoreBusy):
            await store.retry(RetryOrder([identity], "maria", LIFETIMES))

    assert await entries(store) == []
    assert (await view_of(store, identity)).state == State.FAILED


async def test_the_newest_entries_are_read_first(store, entries):
    for number in range(5):
        await store.change(audit.append, AuditEntry(actor="maria", operation=f"op-{number}", target={}))

    assert [one.operation for one in await entries(store, 2)] == ["op-4", "op-3"]
    assert len(await entries(store)) == 5


async def test_an_entry_is_bounded(store, entries):
    """500 ids are recorded by their number and the first few, and no text is longer than its limit."""
    ids = [new_id() for _ in range(500)]
    target = {"messages": 500, "ids": ids, "client": "x" * 10_000}

    await store.change(
        audit.append, AuditEntry(actor="maria", operation="retry", target=target, reason="y" * 10_000)
    )

    (entry,) = await entries(store)
    assert entry.target == {
        "messages": 500,
        "ids": ids[: audit.MAX_ITEMS],
        "client": "x" * audit.MAX_TEXT,
    }
    assert entry.reason == "y" * audit.MAX_REASON


async def test_a_reason_has_no_control_characters(store, entries):
    """PostgreSQL would refuse the NUL, and with it the whole transaction."""
    entry = AuditEntry(
        actor="maria", operation="pause", target={"client": "a\0b"}, reason="one\ntwo\0three\x1b[31m"
    )

    await store.change(audit.append, entry)

    (recorded,) = await entries(store)
    assert recorded.reason == "one two three [31m"
    assert recorded.target == {"client": "a\0b"}


async def test_entries_outlive_the_messages_that_they_are_about(place, new, clock, entries):
    async with place.opened(retention=10.0) as outbox:
        identity = await failed_message(outbox, new)
        await outbox.tell(RetryOrder([identity], "maria"))
        clock.advance(1e9)
        assert await outbox.prune() == 1

        assert len(await entries(outbox)) == 1


@pytest.mark.slow
async def test_the_audit_log_works_on_postgresql(postgres_server, tmp_path, entries):

    url = Secret(postgres_server.new_database())
    async with open_outbox(url, tmp_path, Policy()) as outbox:
        await outbox.retry(RetryOrder([new_id()], "maria", LIFETIMES))
        await outbox.change(
            audit.append, AuditEntry(actor="maria", operation="pause", target={"x": "\0"}, reason="\0")
        )

        assert [one.operation for one in await entries(outbox)] == ["pause", "retry"]
