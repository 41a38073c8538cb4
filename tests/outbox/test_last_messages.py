"""The last message that an instance sent to a user."""

import msgspec
import pytest

from claiming import claim_due, result_of
from gatepost.model import Channel, Status, StatusEvent
from gatepost.outbox import ReportedEvents, Try, last_messages
from gatepost.outbox.last_messages import LastMessageQuery
from gatepost.outbox.states import State
from statements import executed

BOTH_STORES = pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)


def query(*users, instance="relay", channel=Channel.EMAIL):
    return LastMessageQuery(instance, channel, users or [("brand", "anna")])


@pytest.fixture
def last(store):
    async def last(*users, **fields):
        return await store.change(last_messages.find, query(*users, **fields))

    return last


@pytest.fixture
def send(store, put_and_claim):
    """Return a function that sends a message by an instance and returns its id."""

    async def send(uid, *, instance="relay", outcome="sent", state=State.SENT, **fields):
        claim = await put_and_claim(store, uid, **fields)
        tries = [Try(instance=instance, outcome=outcome)]
        result = result_of(claim, state, instance=instance, delay=60)
        await store.finish(msgspec.structs.replace(result, tries=tries))
        return claim.id

    return send


@BOTH_STORES
async def test_it_is_the_newest_of_this_user_instance_channel_and_client(send, last):
    await send("old")
    newest = await send("new")
    await send("other user", ext_user_id="bob")
    await send("other client", client="other")
    await send("other instance", instance="backup")
    await send("other channel", channel=Channel.SMS)
    await send("preview", preview="1")
    assert await last() == newest


@BOTH_STORES
async def test_it_is_the_newest_of_all_users_whose_the_number_is(send, last):
    await send("one", ext_user_id="anna")
    newest = await send("two", ext_user_id="bob", client="other")
    await send("three", ext_user_id="bob", client="third")
    assert await last(("brand", "anna"), ("brand", "bob"), ("other", "bob")) == newest


@BOTH_STORES
@pytest.mark.parametrize(
    ("state", "outcome", "found"),
    [
        (State.SENT, "sent", True),
        (State.UNCERTAIN, "uncertain", False),
        (State.QUEUED, "unavailable", False),
        (State.REJECTED, "rejected", False),
    ],
)
async def test_what_the_instance_certainly_sent_comes_first(send, last, state, outcome, found):
    """What the user says proves that the message was sent; an uncertain one would not be sent again."""
    earlier = await send("earlier")
    message = await send("later", state=state, outcome=outcome)
    assert await last() == (message if found else earlier)


@BOTH_STORES
async def test_what_was_perhaps_sent_counts_where_nothing_else_was(send, last):
    message = await send("one", state=State.UNCERTAIN, outcome="uncertain")
    assert await last() == message


@BOTH_STORES
async def test_what_is_not_tried_yet_or_unknown_is_not_found(store, new, last):
    await store.put(new())
    assert await last() == ""
    assert await last(("brand", "nobody")) == ""
    assert await last(*()) == ""


async def test_a_message_of_which_only_a_report_is_known_is_found(store, put_and_claim, last):
    claim = await put_and_claim(store)
    reported = StatusEvent(status=Status.DELIVERED, message_id=claim.id, provider_id="p-1")
    await store.record(ReportedEvents(instance="relay", events=[reported]))
    assert await last() == claim.id


async def test_the_search_reads_the_index_of_users_in_its_order(store):
    def plan(connection):
        statements = executed(connection)
        last_messages.find(store._begin(connection), [query()])
        (text, values, _), *_ = [one for one in statements if "messages" in one.text]
        return [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)]

    steps = await store._database.transact(plan)
    assert any("USING INDEX messages_user (ext_user_id=?)" in step for step in steps), steps
    assert not any("TEMP B-TREE" in step for step in steps)


async def test_a_message_is_found_while_it_waits_for_the_next_instance(store, send, last):
    message = await send("one", state=State.QUEUED)
    assert await claim_due(store, Channel.EMAIL, 1, 30) == []
    assert await last() == message
