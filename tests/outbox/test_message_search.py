"""Messages that an operator looks for: found by every condition, page by page, in a bounded time."""

from dataclasses import dataclass
from functools import partial

import pytest
from sqlalchemy import Connection, event, update

from claiming import claim_due
from gatepost.model import Channel, Status
from gatepost.outbox import Outbox, SendResult, Try, message_indexes, message_search
from gatepost.outbox.message_filter import MessageFilter
from gatepost.outbox.message_search import MessagePage
from gatepost.outbox.schema import statuses
from gatepost.outbox.states import State

BOTH = pytest.mark.parametrize(
    "place", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
_DAY = 86_400


def uuid7(seconds: float) -> str:
    """Return an id of this moment."""
    digits = f"{round(seconds * 1000):012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-8000-{digits}"


@dataclass
class Search:
    """A store and the messages that were put into it."""

    outbox: Outbox

    async def __call__(self, **options) -> MessagePage:
        limits = {
            name: options.pop(name)
            for name in ("after", "limit", "search_time", "count_time", "max_few")
            if name in options
        }
        wanted = MessageFilter(**options)
        return await self.outbox._database.transact(
            lambda connection: message_search.find(connection, wanted, **limits)
        )

    async def uids(self, **options) -> list[str]:
        return [one.uid for one in (await self(**options)).messages]


@pytest.fixture
async def search(place, clock, new):
    """Yield a store with a message a day, the newest last: a to h."""
    async with place.opened() as outbox:
        for uid in "abcdefgh":
            clock.advance(_DAY)
            await outbox.put(
                new(
                    uid,
                    id=uuid7(clock.now),
                    client="other" if uid in "bc" else "brand",
                    channel=Channel.SMS if uid in "cd" else Channel.EMAIL,
                    route="codes" if uid == "d" else "usual",
                    ext_user_id="bob" if uid in "de" else "anna",
                    lifetime=30.0 * _DAY,
                )
            )
        yield Search(outbox)


async def finish(search, channel, state, instance, **result):
    """Give one message of the channel, the oldest, this result; return its uid."""
    (claim,) = await claim_due(search.outbox, channel, 1, 60.0)
    one = Try(instance=instance, outcome="sent" if state is State.SENT else "rejected")
    await search.outbox.finish(
        SendResult(id=claim.id, attempt=claim.attempt, state=state, instance=instance, tries=[one], **result)
    )
    return claim.uid


@BOTH
async def test_the_newest_come_first(search):
    page = await search(count_time=60.0)

    assert [one.uid for one in page.messages] == [*"hgfedcba"]
    assert (page.matching, page.matching_at_least, page.next, page.oldest_searched_at) == (8, False, "", None)


@BOTH
@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        ({"client": "other"}, "cb"),
        ({"channel": Channel.SMS}, "dc"),
        ({"route": "codes"}, "d"),
        ({"user": "bob"}, "ed"),
        ({"user": "bob", "channel": Channel.EMAIL}, "e"),
        ({"states": (State.QUEUED,), "client": "other"}, "cb"),
        ({"states": (State.FAILED,)}, ""),
        ({"states": (State.SENT, State.QUEUED), "route": "codes"}, "d"),
        ({"client": "nobody"}, ""),
    ],
)
async def test_all_conditions_hold(search, conditions, found):
    assert await search.uids(**conditions) == [*found]


@BOTH
async def test_messages_of_a_time_are_found(search, clock):
    since, until = clock.now - 3 * _DAY, clock.now - _DAY

    assert await search.uids(since=since, until=until) == ["f", "e"]
    assert await search.uids(until=until, client="other") == ["c", "b"]
    assert await search.uids(since=clock.now + 1) == []


@BOTH
@pytest.mark.parametrize("many", [False, True])
async def test_messages_are_found_by_what_became_of_them(search, many):
    """Where an index shows that they are few, and where it does not."""
    uids = partial(search.uids, max_few=0 if many else message_indexes.MAX_FEW)
    sent = await finish(search, Channel.EMAIL, State.SENT, "relay")
    refused = await finish(search, Channel.EMAIL, State.REJECTED, "backup", status=Status.COMPLAINED)

    assert await uids(states=(State.SENT,)) == await uids(plugin="relay") == [sent]
    assert await uids(states=(State.REJECTED,)) == await uids(plugin="backup") == [refused]
    assert await uids(states=(State.REJECTED, State.FAILED)) == [refused]
    assert await uids(status=Status.ACCEPTED) == [sent]
    assert await uids(status=Status.COMPLAINED) == await uids(status=Status.REJECTED) == [refused]
    assert await uids(states=(State.QUEUED,)) == [uid for uid in "hgfedcba" if uid not in {sent, refused}]
    assert await uids(dead_callbacks=True) == []


@BOTH
@pytest.mark.parametrize("conditions", [{}, {"user": "anna"}, {"states": (State.QUEUED,)}])
async def test_the_pages_together_have_every_message_once(search, conditions):
    every = await search.uids(**conditions)
    after, found = "", []
    while True:
        page = await search(**conditions, limit=2, after=after, count_time=60.0)
        assert page.matching == len(every)
        found += [one.uid for one in page.messages]
        after = page.next
        if not after:
            break

    assert found == every


@BOTH
async def test_a_search_whose_time_is_up_goes_on_at_the_next_page(search, clock):
    after, found, pages = "", [], 0
    while True:
        page = await search(route="codes", search_time=0.0, count_time=0.0, after=after)
        found += [one.uid for one in page.messages]
        pages += 1
        if not (after := page.next):
            break
        assert page.oldest_searched_at < clock.now
        assert page.matching_at_least

    assert found == ["d"]
    assert pages > 3


@BOTH
@pytest.mark.parametrize("block", [1, 500])
@pytest.mark.parametrize("conditions", [{"plugin": "relay"}, {"status": Status.REJECTED}])
async def test_messages_that_another_table_names_are_found_page_by_page(
    search, monkeypatch, block, conditions
):
    monkeypatch.setattr(message_search, "_BLOCK", block)
    uids = [await finish(search, Channel.EMAIL, State.REJECTED, "relay") for _ in "abefgh"]

    of_brand = {*uids} - {"b"}
    for more, expected in (({}, uids), ({"client": "brand"}, of_brand), ({"route": "codes"}, [])):
        found, after = [], ""
        while True:
            page = await search(**conditions, **more, limit=2, after=after, max_few=0, count_time=60.0)
            assert (page.matching, page.matching_at_least) == (len(expected), False)
            found += [one.uid for one in page.messages]
            if not (after := page.next):
                break
        assert found == sorted(expected, reverse=True)


async def test_a_search_whose_time_is_up_counts_nothing_more(search, monkeypatch):
    monkeypatch.setattr(message_search._Search, "count", None)

    page = await search(route="usual", search_time=0.0)

    assert (page.matching, page.matching_at_least) == (len(page.messages), True)


async def test_of_many_messages_only_those_are_read_that_another_table_names(search):
    plans = []

    def explain(connection, _cursor, statement, parameters, _context, _many):
        cursor = connection.connection.cursor()
        plans.extend(row[3] for row in cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))

    event.listen(search.outbox._database.engine, "before_cursor_execute", explain)
    for wanted in (MessageFilter(status=Status.FAILED), MessageFilter(plugin="relay")):
        search_all = partial(message_search.next_ids, wanted=wanted, limit=9, search_time=60.0)
        await search.outbox._database.transact(search_all)

    prefixes = {
        "statuses": "SEARCH statuses USING COVERING INDEX statuses_troubled (status=? AND message_id",
        "attempts": "SEARCH attempts USING PRIMARY KEY (message_id",
    }
    for table, prefix in prefixes.items():
        of_table = [one for one in plans if one.startswith((f"SEARCH {table} ", f"SCAN {table}"))]
        assert of_table
        assert all(one.startswith((f"{prefix}<", f"{prefix}>")) for one in of_table)


@BOTH
async def test_of_many_messages_only_a_part_is_counted(search, monkeypatch):
    monkeypatch.setattr(message_search, "MAX_COUNT", 5)

    page = await search(limit=2, count_time=60.0)

    assert (page.matching, page.matching_at_least) == (5, True)


@BOTH
async def test_only_messages_of_some_clients_count(search):
    assert await search.uids(clients=("other",)) == ["c", "b"]
    assert await search.uids(clients=("other",), client="brand") == []
    assert (await search(clients=("other", "none"))).matching == 2


@BOTH
@pytest.mark.parametrize("max_few", [0, message_indexes.MAX_FEW])
async def test_messages_with_failed_callbacks_are_found(search, max_few):
    """Those that wait for another attempt, and those that were given up; where they are few, and where not."""
    uids = [await finish(search, Channel.EMAIL, State.SENT, "relay") for _ in range(3)]
    ids = {one.uid: one.id for one in (await search()).messages}
    for uid, state, due_at in zip(uids, ("dead", "queued", "acknowledged"), (None, 9**15, None), strict=True):
        change = update(statuses).where(statuses.c.message_id == ids[uid])
        values = {"callback_state": state, "attempt": 1, "due_at": due_at}
        await search.outbox._database.transact(partial(Connection.execute, statement=change.values(values)))

    assert await search.uids(failed_callbacks=True, max_few=max_few) == sorted(uids[:2], reverse=True)


@BOTH
async def test_all_ids_are_read_in_steps(search):
    found, after, more = [], "", True
    while more:
        ids, after = await search.outbox._database.transact(
            partial(message_search.next_ids, wanted=MessageFilter(), after=after, limit=3, search_time=0.0)
        )
        found += ids
        more = bool(after)

    assert found == [one.id for one in (await search()).messages]
