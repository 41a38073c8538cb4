"""What operators did with one message, by the audit log."""

import pytest

from gatepost.model import Channel
from gatepost.outbox import RetryOrder, audit, cancellations, pauses
from gatepost.outbox.audit import AuditEntry
from gatepost.outbox.cancellations import CancelStep
from gatepost.outbox.message_acts import acts_on
from gatepost.outbox.message_filter import MessageFilter
from gatepost.outbox.pauses import PauseOrder, ResumeOrder, Scope


@pytest.fixture
async def message(store, new, view_of, clock):
    """Return a waiting message, before and after which something was paused."""
    await store.change(pauses.pause, PauseOrder(Scope(client="brand"), "before"))
    clock.advance(1)
    one = new("uid-1", route="usual", ext_user_id="anna")
    await store.put(one)
    clock.advance(1)
    return await view_of(store, one.id)


async def acts(store, message):
    found = await store._database.transact(lambda connection: acts_on(connection, message))
    # A cancellation that takes several steps is recorded at its beginning too.
    return [(one.operation.removesuffix("-begin"), one.actor) for one in found]


async def test_what_names_the_message_is_found(store, message):
    await store.retry(RetryOrder([message.id], "maria", {Channel.EMAIL: 60.0}))
    await store.tell(RetryOrder([message.id], "maria"))
    await store.tell(RetryOrder(["another"], "maria"))

    assert await acts(store, message) == [("retry", "maria"), ("tell", "maria")]


@pytest.mark.parametrize(
    ("scope", "found"),
    [
        (Scope(client="brand"), True),
        (Scope(channel=Channel.EMAIL, route="usual"), True),
        (Scope(client="brand", plugin="relay"), True),
        (Scope(client="other"), False),
        (Scope(channel=Channel.SMS), False),
        (Scope(client="brand", route="other"), False),
    ],
)
async def test_pauses_since_its_acceptance_are_found(store, message, scope, found):
    await store.change(pauses.pause, PauseOrder(scope, "maria", "wrong text"))
    await store.change(pauses.resume, ResumeOrder(scope, "maria"))

    assert await acts(store, message) == ([("pause", "maria"), ("resume", "maria")] if found else [])


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (MessageFilter(client="brand", since=0.0), True),
        (MessageFilter(user="anna"), True),
        (MessageFilter(user="bob"), False),
        (MessageFilter(client="brand", until=1.0), False),
    ],
)
async def test_a_cancellation_by_a_filter_is_found(store, message, wanted, found, view_of):
    await store.change(cancellations.cancel, CancelStep(wanted, "maria", "wrong text"))

    message = await view_of(store, message.id)
    assert message.state == ("cancelled" if found else "queued")
    assert await acts(store, message) == ([("cancel", "maria")] if found else [])


async def test_what_came_after_its_end_is_not_found(store, message, view_of, clock):
    await store.change(cancellations.cancel, CancelStep(MessageFilter(client="brand"), "maria"))
    clock.advance(1)
    await store.change(pauses.pause, PauseOrder(Scope(client="brand"), "later"))
    await store.change(audit.append, AuditEntry(actor="bob", operation="send", target={"client": "brand"}))

    assert await acts(store, await view_of(store, message.id)) == [("cancel", "maria")]
