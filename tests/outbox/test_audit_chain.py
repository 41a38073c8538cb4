"""The chain of the audit log: it grows with each entry, and shows what was changed behind the gateway's back."""

import asyncio
import hashlib
import json
from contextlib import AsyncExitStack
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from structlog.testing import capture_logs

from gatepost.model import Channel, Secret
from gatepost.outbox import Policy, audit, audit_chain, open_outbox, pauses
from gatepost.outbox.audit import AuditEntry
from gatepost.outbox.audit_chain import GENESIS, Head, entry_hash
from gatepost.outbox.migrate import migrate
from gatepost.outbox.pauses import PauseOrder, ResumeOrder, Scope

BOTH_STORES = pytest.mark.parametrize(
    "place", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
LENGTH = 6


async def append(outbox, number):
    entry = AuditEntry(
        actor="maria", operation=f"op-{number}", target={"client": "é", "n": number}, reason="x"
    )
    await outbox.change(audit.append, entry)


async def run(outbox, *statements):
    """Change the store as somebody would who has its password."""
    await outbox._database.transact(lambda connection: [connection.execute(text(one)) for one in statements])


async def verify(outbox, *known):
    return await outbox._database.transact(partial(audit_chain.verify, known=known))


async def heads(outbox):
    query = text("SELECT seq, hash FROM audit ORDER BY seq")
    return await outbox._database.transact(
        lambda connection: [Head(*row) for row in connection.execute(query)]
    )


@pytest.fixture
async def filled(store):
    """Return a store whose audit log has LENGTH entries."""
    for number in range(1, LENGTH + 1):
        await append(store, number)
    return store


@BOTH_STORES
async def test_a_log_that_nobody_has_touched_is_whole(store):
    assert await verify(store, Head(0, GENESIS)) == (Head(0, GENESIS), None)
    for number in range(1, 4):
        await append(store, number)
    found = await heads(store)
    assert [one.seq for one in found] == [1, 2, 3]
    assert await verify(store, *found) == (found[-1], None)


async def test_the_log_is_read_page_by_page(filled, monkeypatch):
    monkeypatch.setattr(audit_chain, "PAGE", 2)

    assert (await verify(filled)).head.seq == LENGTH


async def test_an_auditor_can_compute_the_hash_without_the_gateway(filled):
    """The documentation of the hash is enough: each field is preceded by its length in bytes."""
    query = text("SELECT seq, recorded_at, actor, operation, target, reason, hash FROM audit ORDER BY seq")
    rows = await filled._database.transact(lambda connection: connection.execute(query).all())
    previous = "0" * 64
    for *fields, found in rows:
        parts = [str(one).encode() for one in (previous, *fields)]
        data = b"".join(b"%d:%s" % (len(part), part) for part in parts)
        previous = hashlib.sha256(data).hexdigest()
        assert found == previous


TAMPERING = {
    "changed actor": ("UPDATE audit SET actor = 'bob' WHERE seq = 3", 3, "changed"),
    "changed target": ("UPDATE audit SET target = '{}' WHERE seq = 1", 1, "changed"),
    "changed time": ("UPDATE audit SET recorded_at = recorded_at + 1 WHERE seq = 6", 6, "changed"),
    "changed hash": (f"UPDATE audit SET hash = '{GENESIS}' WHERE seq = 2", 2, "changed"),
    "first one removed": ("DELETE FROM audit WHERE seq = 1", 1, "missing"),
    "removed": ("DELETE FROM audit WHERE seq = 4", 4, "missing"),
    "removed, and the rest moved up": (
        "DELETE FROM audit WHERE seq = 5; UPDATE audit SET seq = 5 WHERE seq = 6",
        5,
        "one before it removed",
    ),
    "cut off": ("DELETE FROM audit WHERE seq > 4", 5, "missing"),
    "emptied": ("DELETE FROM audit", 1, "missing"),
    "inserted at the end": (
        (
            f"INSERT INTO audit SELECT 7, recorded_at, actor, operation, target, reason, '{GENESIS}' FROM audit "
            "WHERE seq = 3"
        ),
        7,
        "inserted",
    ),
    "inserted far beyond the end": ("INSERT INTO audit SELECT 99, 0, '', '', '{}', '', ''", 99, "inserted"),
    "inserted before the first one": ("INSERT INTO audit SELECT 0, 0, '', '', '{}', '', ''", 0, "inserted"),
    "inserted, and the rest moved": (
        (
            "UPDATE audit SET seq = 7 WHERE seq = 6; UPDATE audit SET seq = 6 WHERE seq = 5; "
            f"INSERT INTO audit SELECT 5, 0, 'bob', 'op', '{{}}', '', '{GENESIS}'"
        ),
        5,
        "inserted",
    ),
    "changed places": (
        (
            "UPDATE audit SET seq = 99 WHERE seq = 2; UPDATE audit SET seq = 2 WHERE seq = 5; "
            "UPDATE audit SET seq = 5 WHERE seq = 99"
        ),
        2,
        "out of order: it was written as entry 5",
    ),
    "neighbours changed places": (
        (
            "UPDATE audit SET seq = 99 WHERE seq = 2; UPDATE audit SET seq = 2 WHERE seq = 3; "
            "UPDATE audit SET seq = 3 WHERE seq = 99"
        ),
        2,
        "out of order: it was written as entry 3",
    ),
    "another head": (f"UPDATE audit_head SET hash = '{GENESIS}'", 6, "not the head"),
    "no head": ("DELETE FROM audit_head", 6, "not the head"),
}


@BOTH_STORES
@pytest.mark.parametrize(("sql", "seq", "problem"), TAMPERING.values(), ids=TAMPERING.keys())
async def test_tampering_is_found_with_the_first_entry_that_is_wrong(filled, sql, seq, problem):
    await run(filled, *sql.split("; "))

    found = await verify(filled)

    assert found.fault.seq == seq
    assert problem in found.fault.problem


@BOTH_STORES
async def test_a_cut_tail_is_found_by_a_head_from_the_log_where_the_store_was_made_to_fit(filled):
    logged = await heads(filled)
    cut = logged[3]
    await run(
        filled,
        "DELETE FROM audit WHERE seq > 4",
        f"UPDATE audit_head SET seq = {cut.seq}, hash = '{cut.hash}'",
    )

    assert (await verify(filled)).fault is None
    assert (await verify(filled, cut)).fault is None
    found = await verify(filled, *logged)
    assert found.fault.seq == 5
    assert "missing" in found.fault.problem


async def test_two_heads_of_one_number_are_found_whichever_comes_last(filled):
    """The store was restored from a backup, and went on from there."""
    logged = await heads(filled)
    other = Head(2, "0" * 64)
    for known in ([other, *logged], [*logged, other]):
        assert (await verify(filled, *known)).fault.seq == 2


async def test_a_log_that_was_written_anew_is_found_by_a_head_from_the_log(filled):
    logged = await heads(filled)

    def write_anew(connection):
        previous = GENESIS
        for row in connection.execute(text("SELECT * FROM audit ORDER BY seq")).all():
            fields = row._asdict() | ({"actor": "bob"} if row.seq == 3 else {})
            previous = entry_hash(previous, row.seq, fields)
            values = {"actor": fields["actor"], "hash": previous, "seq": row.seq}
            connection.execute(text("UPDATE audit SET actor = :actor, hash = :hash WHERE seq = :seq"), values)
        connection.execute(text("UPDATE audit_head SET hash = :hash"), {"hash": previous})

    await filled._database.transact(write_anew)

    assert (await verify(filled)).fault is None
    assert (await verify(filled, logged[1])).fault is None
    found = await verify(filled, logged[4])
    assert found.fault.seq == 5
    assert "replaced" in found.fault.problem


async def test_entries_of_one_transaction_follow_one_another(store):
    await asyncio.gather(*(append(store, number) for number in range(20)))

    assert (await verify(store)).head.seq == 20


async def test_each_new_head_goes_to_the_log_after_its_commit(store):
    with capture_logs() as lines:
        await append(store, 1)
        await store.coordinate(audit_chain.log_head, None)

    (head,) = await heads(store)
    appended, at_start = lines
    assert (appended["event"], appended["operation"], appended["actor"]) == (
        "audit_appended",
        "op-1",
        "maria",
    )
    assert at_start["event"] == "audit_head"
    assert (appended["seq"], appended["hash"]) == (at_start["seq"], at_start["hash"]) == head


async def test_nothing_is_logged_of_a_transaction_that_failed(store, monkeypatch):
    with capture_logs() as lines, monkeypatch.context() as patch:
        patch.setattr(audit_chain, "insert", lambda _table: text("INSERT INTO audit (seq) VALUES (1)"))
        with pytest.raises(Exception, match="refused"):
            await append(store, 1)

    assert "audit_appended" not in [line["event"] for line in lines]
    await append(store, 2)
    assert (await verify(store)).head.seq == 1


async def test_the_entries_of_a_page_are_verified_also_where_others_are_between_them(filled):
    await run(filled, "UPDATE audit SET actor = 'bob' WHERE seq = 3")

    def of_page(connection):
        rows = connection.execute(text("SELECT * FROM audit WHERE seq IN (1, 3, 6)")).all()
        return audit_chain.faults_among(connection, rows)

    assert await filled._database.transact(of_page) == [3]


@pytest.mark.slow
async def test_replicas_that_append_at_once_make_one_chain(postgres_server, tmp_path):
    """Each pauses, and so locks other rows before the head: nobody waits for ever, and no entry is lost."""
    url = Secret(postgres_server.new_database())
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(open_outbox(url, tmp_path, Policy())) for _ in range(3)]

        async def operate(outbox, name):
            for number in range(15):
                scope = Scope(client=f"brand-{number % 4}", channel=Channel.SMS)
                await outbox.change(pauses.pause, PauseOrder(scope, name))
                await outbox.coordinate(audit.append, AuditEntry(actor=name, operation="send", target={}))
                await outbox.change(pauses.resume, ResumeOrder(scope, name))

        await asyncio.gather(*(operate(one, f"replica-{place}") for place, one in enumerate(replicas)))

        found = await verify(replicas[0])
        assert found.fault is None
        # A pause that another one has ended meanwhile is not resumed again.
        assert 3 * 15 * 2 <= found.head.seq <= 3 * 15 * 3
        rows = await replicas[0]._database.transact(
            lambda connection: connection.execute(text("SELECT operation FROM audit")).scalars().all()
        )
        assert (rows.count("pause"), rows.count("send")) == (45, 45)


# What SQLite and PostgreSQL both store: no NUL, and no half of a pair of surrogates.
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
ENTRIES = st.lists(
    st.fixed_dictionaries(
        {
            "recorded_at": st.integers(0, 2**53),
            "actor": TEXTS,
            "operation": TEXTS,
            "target": TEXTS.map(json.dumps),
            "reason": TEXTS,
        }
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(entries=ENTRIES, data=st.data())
def test_any_change_of_any_field_is_found_at_its_entry(entries, data):
    engine = create_engine("sqlite://")
    columns = "recorded_at", "actor", "operation", "target", "reason", "hash"
    with engine.begin() as connection:
        migrate(connection)
        last = Head(0, GENESIS)
        for fields in entries:
            last = Head(last.seq + 1, entry_hash(last.hash, last.seq + 1, fields))
            connection.execute(
                text(f"INSERT INTO audit (seq, {', '.join(columns)}) VALUES (:seq, :{', :'.join(columns)})"),
                fields | last._asdict(),
            )
        connection.execute(text("UPDATE audit_head SET seq = :seq, hash = :hash"), last._asdict())
        assert audit_chain.verify(connection) == (last, None)

        seq = data.draw(st.integers(1, len(entries)))
        column = data.draw(st.sampled_from(columns))
        values = st.integers(0, 2**53) if column == "recorded_at" else TEXTS
        before = connection.execute(text(f"SELECT {column} FROM audit WHERE seq = {seq}")).scalar_one()
        value = data.draw(values.filter(lambda one: one != before))
        connection.execute(text(f"UPDATE audit SET {column} = :value WHERE seq = {seq}"), {"value": value})
        assert audit_chain.verify(connection).fault.seq == seq
    engine.dispose()


@given(st.lists(TEXTS, min_size=4, max_size=4), st.lists(TEXTS, min_size=4, max_size=4))
def test_no_two_entries_have_the_same_text_to_hash(one, other):
    names = "actor", "operation", "target", "reason"
    first, second = ({"recorded_at": 1} | dict(zip(names, texts, strict=True)) for texts in (one, other))
    assert (entry_hash(GENESIS, 1, first) == entry_hash(GENESIS, 1, second)) == (one == other)
