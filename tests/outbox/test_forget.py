"""Forgetting a user, and what a copy of a user's data holds, in a real store."""

import asyncio

import pytest
from sqlalchemy import MetaData, create_engine, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from claiming import claim_callbacks, claim_due, finish_callback
from gatepost.content import EmailContent, SmsContent, encode_content
from gatepost.content_keys import ContentKeys
from gatepost.model import Channel, Mailbox, Status, StatusEvent
from gatepost.outbox import (
    CallbackResult,
    ReportedEvents,
    RetryOrder,
    SendResult,
    audit,
    cancellations,
    forget,
    forgotten_users,
    limits,
    refusals,
    suppressions,
    user_data,
    user_hash,
)
from gatepost.outbox.cancellations import CancelStep
from gatepost.outbox.forget import ForgetOrder
from gatepost.outbox.message_filter import MessageFilter
from gatepost.outbox.migrate import migrate
from gatepost.outbox.records import Try
from gatepost.outbox.refusals import Refusal
from gatepost.outbox.states import State
from gatepost.outbox.suppressions import NewSuppression, Removal

BOTH_STORES = pytest.mark.parametrize(
    "place", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
USER = "vorpal-4711"
OF_USER = {"client": "brand", "ext_user_id": USER, "retention": 60.0, "keys": ContentKeys()}
URL = "https://crm.example/status?player=slithy-tove"
CONTENT = encode_content(
    EmailContent(sender=Mailbox("noreply@brand.example"), subject="Jabberwock", html="<p>burbled</p>")
)
TRACES = (USER, URL, "slithy", "Jabberwock", "burbled", "mimsy", "borogove", "outgrabe")

ABOUT_THE_USER = {
    "attempts": {"choice", "reason", "code", "not_gsm7"},
    "contents": {"content"},
    "counters": {"scope"},
    "messages": {"ext_user_id", "country", "preview", "callback_url", "reason", "code"},
    "refusals": {"ext_user_id", "reason"},
    "statuses": {"code", "target", "problem"},
    "suppressions": {"ext_user_id", "reason"},
}
"""Columns that name a user or tell about one: `forget` erases them, and `export` hands them out."""

BY_HASH = {"audit": {"target"}, "forgotten_users": {"user_hash"}}
"""Columns that name a user by a keyed hash, and stay."""

OF_THE_MESSAGE = {
    "attempts": {"message_id", "attempt", "position", "instance", "outcome", "provider_id", "started_at"}
    | {"duration", "parts", "counted_parts", "price", "currency"},
    "contents": {"message_id"},
    "erasures": {"message_id"},
    "messages": {"id", "client", "channel", "uid", "queue", "fingerprint", "state", "due_at", "created_at"}
    | {"expires_at", "ended_at", "attempt", "holder", "lost_answers", "passed", "deaths", "instance"},
    "statuses": {"seq", "message_id", "status", "recorded_at", "callback_state", "due_at", "attempt"}
    | {"holder", "client", "reporter", "called_at", "http_status"},
}
"""Columns that tell about a message, and stay until the retention ends: nothing stored with them names its user."""

OF_NO_USER = {
    "audit": {"seq", "recorded_at", "actor", "operation", "reason", "hash"},
    "audit_head": {"seq", "hash"},
    "alert_states": {"scope", "state", "problems"},
    "compatibility": {"oldest_revision"},
    "console_sessions": {"token_hash", "name", "seen_at", "ends_at"},
    "console_users": {"name", "role", "clients", "password_hash", "changed_at"},
    "counters": {"period", "shard", "value"},
    "forgotten_users": {"client", "actor", "created_at"},
    "keys": {"name", "value"},
    "leases": {"name", "holder", "ends_at"},
    "pauses": {"id", "client", "channel", "route", "plugin", "reason", "actor", "created_at", "ends_at"},
    "plugin_state": {"instance", "key", "value"},
    "queues": {"id", "channel", "route", "client"},
    "refusals": {"seq", "refused_at", "client", "channel", "uid", "code"},
    "replicas": {"holder", "host", "version", "started_at", "seen_at"},
    "shares": {"route", "country", "instance", "factor", "sent", "delivered", "reason", "worse_at", "wait"}
    | {"increased", "measured_from", "decided"},
    "statistics": {"hours", "period", "queue", "country", "instance", "counted", "shard", "value"},
    "store_sizes": {"day", "measured_at", "bytes"},
    "suppressions": {"client", "actor", "created_at", "ends_at"},
    "turns": {"instance", "next_at"},
}
"""Columns that tell nothing about a user once the columns above are erased."""


@pytest.fixture
def tables(empty_sqlite):
    """Return the tables of a store, also those of a module that no test here imports."""
    engine = create_engine(f"sqlite:///{empty_sqlite}")
    with engine.connect() as connection:
        return tables_of(connection)


def tables_of(connection):
    found = MetaData()
    found.reflect(connection)
    return [table for name, table in found.tables.items() if name != "alembic_version"]


def test_it_is_decided_for_every_column_what_becomes_of_it_when_a_user_is_forgotten(tables):
    """A new column fails here: decide whether `forget` and `export` and docs/explanation/personal-data.md need it."""
    decided = [
        (table, column)
        for group in (ABOUT_THE_USER, BY_HASH, OF_THE_MESSAGE, OF_NO_USER)
        for table, columns in group.items()
        for column in columns
    ]
    columns = {(table.name, column.name) for table in tables for column in table.columns}

    assert sorted(decided) == sorted(columns)


async def read(store, query, **arguments):
    return await store._database.transact(lambda connection: query(connection, **arguments))


async def forget_user(store, client="brand", user=USER):
    order = ForgetOrder((client, user), "root")
    progress = await store.cancel(forget.forget, order)
    while not progress.done:
        progress = await store.cancel(forget.forget, order._replace(progress=progress))
    return progress


async def erase_rest(store):
    """Erase what can be erased now, as the housekeeping does; return of how many messages."""
    step = await store.cancel(forget.erase_rest, "")
    erased = step.erased
    while step.last_id:
        step = await store.cancel(forget.erase_rest, step.last_id)
        erased += step.erased
    return erased


async def everything(store):
    """Return the text of every value of every table."""
    return str(
        await read(
            store,
            lambda connection: {
                table.name: [tuple(row) for row in connection.execute(select(table))]
                for table in tables_of(connection)
            },
        )
    )


def traces_in(text):
    return [one for one in TRACES if one in text]


async def sent(store, claim, **fields):
    tries = [
        Try(instance="relay", outcome="unavailable", choice="country mimsy", reason="mimsy"),
        Try(instance="relay", outcome="sent", provider_id=f"p-{claim.id}"),
    ]
    result = {"state": State.SENT, "instance": "relay", "tries": tries, **fields}
    await store.finish(SendResult(id=claim.id, attempt=claim.attempt, **result))


async def make_callbacks(store, *, acknowledged=True):
    while batch := await claim_callbacks(store, 50, 30.0):
        for one in batch:
            result = CallbackResult(
                seq=one.seq, attempt=one.attempt, acknowledged=acknowledged, problem="borogove"
            )
            await finish_callback(store, result)


async def fill(store, new):
    """Store the user in every table that may have one: messages in many states, and everything beside them."""

    def message(uid, **fields):
        per_user = limits.user_limit("brand", USER, 100)
        content = {"content": CONTENT, "country": "GB", "limits": (per_user,)}
        return new(uid, **{"ext_user_id": USER, "callback_url": URL, **content, **fields})

    for uid in ("acked", "dead", "failed", "waits"):
        await store.put(message(uid))
    acked, dead, failed, waits = await claim_due(store, Channel.EMAIL, 4, 30.0)
    await sent(store, acked)
    await make_callbacks(store)
    await sent(store, dead)
    await make_callbacks(store, acknowledged=False)
    reason = {"reason": "outgrabe", "code": "mimsy"}
    await sent(store, failed, state=State.FAILED, **reason)
    await make_callbacks(store)
    await sent(store, waits)
    await store.put(message("waiting"))
    await store.put(message("preview", preview="borogove"))
    await store.change(
        refusals.add, [Refusal("brand", "email", "uid-r", USER, 14, "outgrabe"), other_refusal()]
    )
    await store.change(suppressions.add, NewSuppression("brand", USER, "by mail", "root"))
    return {one.id: one for one in (acked, dead, failed, waits)}


def other_refusal():
    return Refusal("brand", "email", "uid-s", "anna", 1, "unknown")


@BOTH_STORES
async def test_a_forgotten_user_is_in_no_table(store, new):
    await fill(store, new)
    assert traces_in(await everything(store)) == [*TRACES]

    progress = await forget_user(store)

    assert (progress.messages, progress.cancelled) == (6, 2)
    # Those of which Smartico has still to hear: of the sent one, and of both that were cancelled.
    assert progress.unfinished == 3
    assert traces_in(await everything(store)) == [URL, "slithy"]
    await make_callbacks(store)
    assert await erase_rest(store) == 3
    assert traces_in(await everything(store)) == []
    assert await erase_rest(store) == 0


async def test_nothing_of_a_forgotten_user_is_in_the_files(place, new):
    """Also not in a page that SQLite has freed or rewritten, nor in the write-ahead log."""
    async with place.opened() as store:
        for number in range(300):
            await store.put(new(f"other-{number}", channel=Channel.SMS, ext_user_id=f"user-{number}"))
        await fill(store, new)
        await make_callbacks(store)
        for number in range(300, 600):
            await store.put(new(f"other-{number}", channel=Channel.SMS, ext_user_id=f"user-{number}"))
        assert traces_in(files(place)) == [*TRACES]

        await forget_user(store)
        await make_callbacks(store)
        await erase_rest(store)
        await store.erase_copies()

        assert traces_in(files(place)) == []
        assert "user-299" in files(place)
        assert (place.base / "outbox.db-wal").stat().st_size == 0
    assert traces_in(files(place)) == []


def files(place):
    return "".join(one.read_bytes().decode("latin-1") for one in sorted(place.base.glob("outbox.db*")))


@BOTH_STORES
async def test_only_this_user_of_this_client_is_forgotten(store, new, view_of):
    others = [new("a", ext_user_id="anna"), new("b", client="other", ext_user_id=USER)]
    await asyncio.gather(*map(store.put, others))
    await store.change(refusals.add, [Refusal("other", "sms", "uid", USER, 1, "unknown"), other_refusal()])
    await store.change(suppressions.add, NewSuppression("other", USER, "by mail", "root"))
    await fill(store, new)

    await forget_user(store)

    assert [(await view_of(store, one.id)).ext_user_id for one in others] == ["anna", USER]
    assert [(one.client, one.ext_user_id) for one in await read(store, refusals.find)] == [
        ("brand", "anna"),
        ("brand", "anna"),
        ("other", USER),
    ]
    listed = await read(store, suppressions.list_suppressions, now=0.0, client="other", limit=9)
    assert [one.ext_user_id for one in listed] == [USER]


@BOTH_STORES
async def test_a_forgotten_user_is_not_contacted_until_an_operator_says_so(store, new):
    await fill(store, new)
    await forget_user(store)

    assert (await store.put(new("later", ext_user_id=USER))).suppressed == forgotten_users.REASON
    assert (await store.find("brand", Channel.EMAIL, "later", USER)).suppressed
    other = new("later", client="other", ext_user_id=USER)
    assert (await store.put(other)).id == other.id
    (listed,) = await read(
        store, suppressions.list_suppressions, now=0.0, ext_user_id=USER, client="brand", limit=9
    )
    hashed = await read(store, user_hash.of_user, ext_user_id=USER)
    assert (listed.ext_user_id, listed.user_hash, listed.reason) == ("", hashed, "forgotten")

    assert await store.change(suppressions.remove, Removal("brand", USER, "", "root"))
    assert not await store.change(suppressions.remove, Removal("brand", USER, "", "root"))
    message = new("later", ext_user_id=USER)
    assert (await store.put(message)).id == message.id


@BOTH_STORES
async def test_the_uid_of_a_forgotten_message_is_known_until_the_retention_ends(place, new, clock):
    async with place.opened(retention=60.0) as store:
        claims = await fill(store, new)
        await forget_user(store)

        again = await store.put(new("acked", ext_user_id=USER))
        assert (again.id in claims, again.fingerprint, again.suppressed) == (True, b"\x01" * 32, "")
        await make_callbacks(store)
        await erase_rest(store)
        clock.advance(61)
        while await store.prune():
            pass
        assert (await store.put(new("acked", ext_user_id=USER))).suppressed == forgotten_users.REASON


@BOTH_STORES
async def test_what_is_being_sent_ends_first_and_is_erased_then(store, new, view_of):
    await store.put(new("a", ext_user_id=USER, callback_url=""))
    (claim,) = await claim_due(store, Channel.EMAIL, 1, 30.0)

    progress = await forget_user(store)

    assert (progress.messages, progress.cancelled, progress.unfinished) == (1, 0, 1)
    assert await erase_rest(store) == 0
    await sent(store, claim)
    assert await erase_rest(store) == 1
    view = await view_of(store, claim.id)
    assert (view.state, view.ext_user_id, view.has_content) == ("sent", "", False)
    assert [one.status for one in view.statuses] == ["accepted"]
    assert traces_in(await everything(store)) == []


async def test_what_could_not_be_sent_is_cancelled_then(store, new, view_of):
    await store.put(new("a", ext_user_id=USER))
    (claim,) = await claim_due(store, Channel.EMAIL, 1, 30.0)
    await forget_user(store)
    await sent(store, claim, state=State.QUEUED, delay=60.0)

    assert await erase_rest(store) == 1
    view = await view_of(store, claim.id)
    assert (view.state, [one.status for one in view.statuses]) == ("cancelled", ["rejected"])


@BOTH_STORES
async def test_a_message_that_was_stored_at_the_same_moment_is_not_sent_and_is_erased(store, new, view_of):
    """Another replica may have looked for suppressions before the user was forgotten, and store the message after that."""
    await store.put(new("old", ext_user_id=USER, callback_url=""))
    await forget_user(store)
    slipped = new("slipped", ext_user_id=USER, callback_url="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suppressions.forgotten_users, "reasons", lambda *_: {})
        assert (await store.put(slipped)).id == slipped.id

    (claim,) = await claim_due(store, Channel.EMAIL, 9, 30.0)

    assert (claim.id, claim.suppressed) == (slipped.id, forgotten_users.REASON)
    await sent(store, claim, state=State.REJECTED, tries=())
    assert await erase_rest(store) == 1
    assert USER not in await everything(store)


async def test_a_preview_is_not_sent_to_the_user_so_it_is_sent(store, new):
    await store.put(new("old", ext_user_id=USER))
    await forget_user(store)
    preview = new("p", ext_user_id=USER, preview="ref", callback_url="")

    assert (await store.put(preview)).id == preview.id
    (claim,) = await claim_due(store, Channel.EMAIL, 9, 30.0)
    await sent(store, claim, state=State.QUEUED)
    assert await erase_rest(store) == 0


@BOTH_STORES
async def test_a_late_report_about_a_forgotten_message_is_recorded_and_suppresses_nobody(place, new, view_of):
    async with place.opened(suppress=frozenset({"complained"})) as store:
        claims = await fill(store, new)
        await forget_user(store)
        await make_callbacks(store)
        await erase_rest(store)
        acked = next(iter(claims))
        by_provider = StatusEvent(status=Status.DELIVERED, provider_id=f"p-{acked}")
        by_id = StatusEvent(status=Status.COMPLAINED, message_id=acked)

        result = await store.record(ReportedEvents(instance="relay", events=[by_provider, by_id]))

        assert (result.new, result.unknown) == (2, 0)
        view = await view_of(store, acked)
        found = {one.status: one.callback_state for one in view.statuses}
        assert found == {"accepted": "acknowledged", "delivered": "none", "complained": "none"}
        assert await claim_callbacks(store, 9, 30.0) == []
        assert await read(store, lambda c: c.execute(select(suppressions.suppressions)).all()) == []


async def test_a_status_that_becomes_known_while_a_callback_is_open_is_told(store, new):
    await store.put(new("a", ext_user_id=USER, callback_url=URL))
    (claim,) = await claim_due(store, Channel.EMAIL, 1, 30.0)
    await sent(store, claim)
    await forget_user(store)
    event = StatusEvent(status=Status.DELIVERED, message_id=claim.id)
    await store.record(ReportedEvents(instance="relay", events=[event]))

    (first,) = await claim_callbacks(store, 9, 30.0)
    await finish_callback(store, CallbackResult(seq=first.seq, attempt=first.attempt, acknowledged=True))
    assert await erase_rest(store) == 0
    (second,) = await claim_callbacks(store, 9, 30.0)

    assert [(one.status, one.callback_url) for one in (first, second)] == [
        ("accepted", URL),
        ("delivered", URL),
    ]


async def test_a_report_that_suppresses_the_user_meanwhile_leaves_no_trace(place, new):
    async with place.opened(suppress=frozenset({"complained"})) as store:
        await store.put(new("a", ext_user_id=USER, callback_url=""))
        (claim,) = await claim_due(store, Channel.EMAIL, 1, 30.0)
        await forget_user(store)
        event = StatusEvent(status=Status.COMPLAINED, message_id=claim.id)
        await store.record(ReportedEvents(instance="relay", events=[event]))
        assert USER in await everything(store)

        await erase_rest(store)

        assert USER not in await everything(store)


async def test_an_erased_message_can_be_neither_sent_nor_told_again(store, new):
    claims = await fill(store, new)
    await forget_user(store)
    await make_callbacks(store)
    await erase_rest(store)
    order = RetryOrder(list(claims), "root", {Channel.EMAIL: 60.0, Channel.SMS: 60.0})

    assert not any(one.queued for one in await store.retry(order))
    assert not any(one.callbacks for one in await store.tell(order))
    assert await claim_due(store, Channel.EMAIL, 9, 30.0) == []
    assert await claim_callbacks(store, 9, 30.0) == []


async def test_refused_requests_of_a_forgotten_user_do_not_name_the_user(store, new):
    await fill(store, new)
    await forget_user(store)

    await store.change(refusals.add, [Refusal("brand", "email", "uid-t", USER, 13, "must not be contacted")])

    newest = (await read(store, refusals.find))[0]
    assert (newest.uid, newest.ext_user_id) == ("uid-t", refusals.FORGOTTEN)


async def test_many_messages_are_forgotten_in_several_steps_with_their_numbers(store, new, monkeypatch):
    monkeypatch.setattr(forget, "_select_next", forget._select_next.limit(2))
    monkeypatch.setattr(forget, "STEP_MESSAGES", 2)
    for number in range(5):
        await store.put(new(f"uid-{number}", ext_user_id=USER, callback_url=""))

    progress = await forget_user(store)

    assert (progress.messages, progress.cancelled, progress.unfinished) == (5, 5, 0)
    end, beginning = await read(store, audit.list_entries, limit=9)
    hashed = await read(store, user_hash.of_user, ext_user_id=USER)
    assert (beginning.operation, beginning.target) == ("forget-begin", {"client": "brand", "user": hashed})
    assert end.operation == "forget"
    assert end.target == {"client": "brand", "user": hashed, "messages": 5, "cancelled": 5}


@BOTH_STORES
async def test_the_audit_log_names_users_by_a_keyed_hash_alone(store, new):
    await store.change(suppressions.add, NewSuppression("brand", USER, "by mail", "root"))
    await store.change(suppressions.remove, Removal("brand", USER, "", "root"))
    await store.cancel(cancellations.cancel, CancelStep(MessageFilter(user=USER), "root"))
    await forget_user(store)

    entries = await read(store, audit.list_entries, limit=9)

    hashed = await read(store, user_hash.of_user, ext_user_id=USER)
    assert [one.operation for one in entries] == ["forget", "cancel", "suppress-remove", "suppress-add"]
    assert {one.target["user"] for one in entries} == {hashed}
    assert len(hashed) == 64
    assert USER not in await everything(store)
    assert await read(store, audit.entries_of_user, hashed=hashed) == entries


def test_each_store_has_a_key_of_its_own():
    hashes = set()
    for _ in range(2):
        with create_engine("sqlite://").begin() as connection:
            migrate(connection)
            hashes.add(user_hash.of_user(connection, USER))
            assert user_hash.of_user(connection, USER) in hashes
    assert len(hashes) == 2


@BOTH_STORES
async def test_a_copy_of_the_users_data_holds_what_is_stored(store, new, clock):
    text = encode_content(SmsContent(text="frumious"))
    await store.put(new("sms", channel=Channel.SMS, ext_user_id=USER, content=text))
    await fill(store, new)

    stored = await read(store, user_data.collect, now=int(clock() * 1000), **OF_USER)

    by_uid = {one.uid: one for one in stored.messages}
    assert list(by_uid) == ["sms", "acked", "dead", "failed", "waits", "waiting", "preview"]
    assert {one.callback_url for one in stored.messages[1:]} == {URL}
    assert [uid for uid, one in by_uid.items() if one.content] == ["sms", "failed", "waiting", "preview"]
    assert (by_uid["waiting"].content.subject, by_uid["sms"].content.text) == ("Jabberwock", "frumious")
    assert by_uid["waiting"].content_until_at == by_uid["waiting"].expires_at + 60
    assert by_uid["failed"].content_until_at == by_uid["failed"].ended_at + 60
    assert [one.is_preview for one in (by_uid["preview"], by_uid["acked"])] == [True, False]
    assert by_uid["acked"].tries[0].choice == "country mimsy"
    assert [one.status for one in by_uid["acked"].statuses] == ["accepted"]
    assert [one.reason for one in stored.suppressions] == ["by mail"]
    assert [one.uid for one in stored.refused_requests] == ["uid-r"]
    assert [one.messages for one in stored.messages_by_day] == [6]
    assert [one.operation for one in stored.audit_log] == ["suppress-add"]


@BOTH_STORES
async def test_the_clients_of_a_user_are_found_wherever_the_user_is_stored(store, new, clock):
    async def clients():
        return await read(store, user_data.find_clients, ext_user_id=USER, now=int(clock() * 1000))

    assert await clients() == []
    await store.put(new("a", client="c-message", ext_user_id=USER))
    assert await clients() == ["c-message"]
    await store.change(refusals.add, [Refusal("a-refusal", "sms", "uid", USER, 1, "unknown")])
    await store.change(suppressions.add, NewSuppression("b-suppression", USER, "by mail", "root"))
    assert await clients() == ["a-refusal", "b-suppression", "c-message"]
    await store.change(suppressions.remove, Removal("b-suppression", USER, "", "root"))
    await forget_user(store, "c-message")
    # The audit log and the list of forgotten users name the user by the hash.
    assert await clients() == ["a-refusal", "b-suppression", "c-message"]
    assert await read(store, user_data.find_clients, ext_user_id="nobody", now=0) == []


async def test_only_the_url_waits_for_the_callbacks_of_what_was_being_sent(store, new):
    await store.put(new("a", ext_user_id=USER, callback_url=URL))
    (claim,) = await claim_due(store, Channel.EMAIL, 1, 30.0)
    await forget_user(store)
    await sent(store, claim)

    assert await erase_rest(store) == 1
    assert traces_in(await everything(store)) == [URL, "slithy"]
    assert await erase_rest(store) == 0


async def test_a_copy_can_be_handed_out_also_where_a_content_cannot_be_read(store, new):
    await store.put(new("a", ext_user_id=USER, content=b"\xff"))

    stored = await read(store, user_data.collect, now=0, **OF_USER)

    assert [(one.content, one.content_until_at is None) for one in stored.messages] == [(None, False)]


async def test_what_is_left_of_many_messages_is_looked_at_page_by_page(store, new):
    """One look at all of them would hold up everything else, each time, as long as Smartico does not answer."""
    messages = [new(f"uid-{n}", ext_user_id=USER, callback_url=URL) for n in range(forget.REST_PAGE + 1)]
    await asyncio.gather(*map(store.put, messages))
    await forget_user(store)

    first = await store.cancel(forget.erase_rest, "")
    assert (first.erased, first.last_id) == (0, sorted(one.id for one in messages)[-2])
    await make_callbacks(store)
    step = await store.cancel(forget.erase_rest, first.last_id)
    assert (step.erased, step.last_id) == (1, "")
    assert await erase_rest(store) == forget.REST_PAGE
    assert traces_in(await everything(store)) == []


@pytest.mark.slow
@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
async def test_a_user_can_be_forgotten_while_a_report_suppresses_the_user(place, new):
    """Both need the message and the suppression: in two orders they would wait for each other for ever."""
    async with place.opened() as store:
        message = new("a", ext_user_id=USER, callback_url="")
        await store.put(message)
        await store.change(suppressions.add, NewSuppression("brand", USER, "by mail", "root"))
        lock = text("SELECT id FROM messages WHERE id = :id FOR UPDATE")
        suppress = text("UPDATE suppressions SET reason = 'complained'")
        waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        async with AsyncEngine(store._database.engine).begin() as connection, asyncio.timeout(60):
            await connection.execute(lock, {"id": message.id})
            forgetting = asyncio.create_task(forget_user(store))
            while not (await connection.execute(waits)).scalar_one():  # noqa: ASYNC110  another process sets no event
                await asyncio.sleep(0.01)
            await connection.execute(suppress)
        assert (await forgetting).messages == 1
        assert traces_in(await everything(store)) == []
