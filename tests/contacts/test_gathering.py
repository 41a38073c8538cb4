"""Lookups that go to their source together, on a clock that moves only while all tasks wait."""

import asyncio
import gc
from collections import Counter

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.config.settings import InstanceSettings
from gatepost.contacts.gathering import MAX_CALLS, MAX_IDS, GatheredLookups
from gatepost.contacts.lookup import Contacts, LookupOutcome
from gatepost.errors import Unavailable
from gatepost.hookspecs import hookimpl
from gatepost.model import Channel, Contact, Secret
from gatepost.plugin_host import isolation
from gatepost.plugin_host.instances import Instance
from torture.fast_forward import FastForward

LATENCY = 0.02
TIMEOUT = 2.0


@pytest.fixture
def anyio_backend():
    return "asyncio", {"loop_factory": FastForward}


def contact_of(user):
    return Contact(email=Secret(f"{user}@players.example"))


class Single:
    """A source with one connection. It knows each user whose id does not begin with ``no``."""

    def __init__(self, latency=LATENCY, connections=1):
        self.latency = latency
        self.calls = []
        """For each call its time, its users and whether it ended by itself."""
        self.in_progress = self.most_in_progress = 0
        self.connection = asyncio.Semaphore(connections)

    @hookimpl
    async def find_contact(self, ext_user_id):
        return (await self.answer([ext_user_id])).get(ext_user_id)

    async def answer(self, users):
        call = [asyncio.get_running_loop().time(), list(users), False]
        self.calls.append(call)
        self.in_progress += 1
        self.most_in_progress = max(self.most_in_progress, self.in_progress)
        try:
            async with self.connection:
                await asyncio.sleep(self.latency)
        finally:
            self.in_progress -= 1
        call[2] = True
        return {user: contact_of(user) for user in users if not user.startswith("no")}

    @property
    def sizes(self):
        return [len(users) for _, users, _ in self.calls]


class Batch(Single):
    @hookimpl
    async def find_contacts(self, ext_user_ids):
        assert len(ext_user_ids) > 1
        return await self.answer(ext_user_ids)


def source(plugin):
    return Instance(InstanceSettings(name="players", use="players"), plugin)


def gathered(plugin, timeout=TIMEOUT):
    return GatheredLookups(source(plugin).as_source, timeout, "players")


async def find_all(lookups, users):
    return await asyncio.gather(*map(lookups.find, users), return_exceptions=True)


def now():
    return asyncio.get_running_loop().time()


async def test_a_lone_lookup_goes_at_once_and_alone():
    plugin = Batch()
    lookups = gathered(plugin)
    for number in range(3):
        assert await lookups.find(f"user {number}") == contact_of(f"user {number}")

    assert plugin.sizes == [1, 1, 1]
    assert now() == pytest.approx(3 * LATENCY)


async def test_those_that_come_during_a_call_go_together():
    plugin = Batch(connections=9)
    users = [f"user {number}" for number in range(64)]

    assert await find_all(gathered(plugin), users) == [contact_of(user) for user in users]

    assert plugin.sizes == [1, 1, 62]
    assert now() == pytest.approx(2 * LATENCY)


async def test_a_call_has_at_most_a_hundred_users():
    plugin = Batch()
    users = [f"user {number}" for number in range(MAX_CALLS + 2 * MAX_IDS + 1)]

    assert await find_all(gathered(plugin), users) == [contact_of(user) for user in users]

    assert plugin.sizes == [1, 1, 100, 100, 1]
    assert plugin.most_in_progress == MAX_CALLS


async def test_a_user_who_is_looked_up_twice_is_in_the_call_once():
    plugin = Batch()
    users = ["a", "b", *["c", "d", "c"] * 100]

    assert await find_all(gathered(plugin), users) == [contact_of(user) for user in users]

    assert plugin.calls[2][1] == ["c", "d"]


async def test_two_lookups_of_one_user_are_no_batch():
    plugin = Batch()
    users = ["a", "b", "c", "c"]

    assert await find_all(gathered(plugin), users) == [contact_of(user) for user in users]

    assert plugin.sizes == [1, 1, 1]


async def test_users_whom_the_source_does_not_know_are_unknown():
    found = await find_all(gathered(Batch()), ["nobody", "a", "b", "nowhere", "c"])

    assert found == [None, contact_of("a"), contact_of("b"), None, contact_of("c")]


async def test_contacts_of_others_are_ignored():
    class Generous(Batch):
        @hookimpl
        async def find_contacts(self, ext_user_ids):
            found = await self.answer(ext_user_ids)
            return {"other": object(), 7: None, **found, "more": contact_of("more")}

    users = ["a", "b", "c", "d"]
    assert await find_all(gathered(Generous()), users) == [contact_of(user) for user in users]


async def test_a_source_may_be_unable_to_answer_about_one_user_of_several():
    class Partly(Batch):
        @hookimpl
        async def find_contacts(self, ext_user_ids):
            error = Unavailable("two rows for d", code="21000", misconfigured=True)
            return {**await self.answer(ext_user_ids), "d": error}

    found = await find_all(gathered(Partly()), ["a", "b", "c", "d", "e"])

    error = found.pop(3)
    assert found == [contact_of(user) for user in "abce"]
    # Without the user's id, as the reason is logged and shown.
    assert (error.reason, error.code, error.misconfigured) == ("two rows for [user]", "21000", True)


JUNK = {
    "no mapping": lambda users: [contact_of(user) for user in users],
    "none": lambda _: None,
}

WRONG = {
    "no contact": "a@b.example",
    "none": None,
    "wrong inside": Contact(email="not a secret"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_a_wrong_contact_harms_its_own_lookup_alone(wrong, monkeypatch):
    """The others may be users of another client. The same user would be among them at each try."""

    class Wrong(Batch):
        @hookimpl
        async def find_contacts(self, ext_user_ids):
            return {**await self.answer(ext_user_ids), "d": wrong, "e": wrong}

    it = source(Wrong())
    with structlog.testing.capture_logs() as logged:
        monkeypatch.setattr(isolation, "_log", structlog.get_logger())
        found = await find_all(
            GatheredLookups(it.as_source, TIMEOUT, "players"), ["a", "b", "c", "d", "e", "no"]
        )

    assert found[:3] == [contact_of("a"), contact_of("b"), contact_of("c")]
    assert [type(one) for one in found[3:]] == [Unavailable, Unavailable, type(None)]
    assert (it.violations, it.as_source.failed_lookups) == (1, 2)
    assert [(one["event"], one["hook"]) for one in logged] == [("plugin_violation", "find_contacts")]
    assert "b.example" not in f"{logged}"


@pytest.mark.parametrize("junk", JUNK)
async def test_junk_is_a_violation_for_the_whole_call(junk, monkeypatch):
    class Junk(Batch):
        @hookimpl
        async def find_contacts(self, ext_user_ids):
            await self.answer(ext_user_ids)
            return JUNK[junk](ext_user_ids)

    it = source(Junk())
    with structlog.testing.capture_logs() as logged:
        monkeypatch.setattr(isolation, "_log", structlog.get_logger())
        found = await find_all(GatheredLookups(it.as_source, TIMEOUT, "players"), "abcde")

    assert found[:2] == [contact_of("a"), contact_of("b")]
    assert [type(one) for one in found[2:]] == [Unavailable] * 3
    assert (it.violations, it.as_source.failed_lookups) == (1, 3)
    assert [(one["event"], one["hook"]) for one in logged] == [("plugin_violation", "find_contacts")]
    # Each lookup has an error of its own: to raise one of them changes no other.
    assert len({id(one) for one in found[2:]}) == 3


async def test_an_error_is_that_of_every_lookup_of_the_call():
    class Down(Batch):
        @hookimpl
        async def find_contacts(self, ext_user_ids):
            raise Unavailable("no permission", code="403", misconfigured=True)

    found = await find_all(gathered(Down()), "abcd")

    assert found[:2] == [contact_of("a"), contact_of("b")]
    assert [(one.reason, one.code, one.misconfigured) for one in found[2:]] == [
        ("no permission", "403", True)
    ] * 2


async def test_a_source_may_be_unable_to_answer_about_one_user_alone():
    class Partly(Batch):
        @hookimpl
        async def find_contacts(self, ext_user_ids):
            found = await self.answer(ext_user_ids)
            return {**found, "d": Unavailable("no sense in /users/d", code="200", misconfigured=True)}

    it = source(Partly())
    found = await find_all(GatheredLookups(it.as_source, TIMEOUT, "players"), "abcde")

    assert [found[index] for index in (0, 1, 2, 4)] == [contact_of(user) for user in "abce"]
    assert (found[3].reason, found[3].code, found[3].misconfigured) == (
        "no sense in /users/[user]",
        "200",
        True,
    )
    assert (it.violations, it.as_source.failed_lookups) == (0, 1)


async def test_each_call_has_the_whole_time():
    """Lookups that waited while others were cancelled are made all the same, unless they have waited as long."""
    plugin = Batch(latency=60.0, connections=9)
    lookups = gathered(plugin)
    first = asyncio.create_task(find_all(lookups, "abc"))
    await asyncio.sleep(1.5)
    plugin.latency = LATENCY
    later = asyncio.create_task(find_all(lookups, "de"))

    assert [type(one) for one in await first] == [Unavailable] * 3
    assert [one.reason for one in (await first)[:2]] == ["took longer than 2 s"] * 2
    # It came with those that were cancelled, and would have been cancelled with them.
    assert (await first)[2].reason == "the lookups before it took too long"
    assert await later == [contact_of("d"), contact_of("e")]
    assert now() < TIMEOUT + isolation.CANCEL_TIMEOUT + 2 * LATENCY


async def test_one_call_that_hangs_does_not_stop_the_others():
    plugin = Batch(latency=60.0, connections=9)
    lookups = gathered(plugin)
    hanging = asyncio.create_task(find_all(lookups, "a"))
    await asyncio.sleep(0.01)
    plugin.latency = LATENCY

    assert await find_all(lookups, "bcde") == [contact_of(user) for user in "bcde"]
    assert now() < 0.1
    await hanging


async def test_a_cancelled_lookup_does_not_harm_the_others():
    plugin = Batch()
    lookups = gathered(plugin)
    tasks = [asyncio.create_task(lookups.find(user)) for user in "abcdef"]
    await asyncio.sleep(LATENCY / 2)
    # One that is alone in its call, and one that waits.
    tasks[0].cancel()
    tasks[2].cancel()
    await asyncio.sleep(LATENCY)
    # One whose call is in progress.
    tasks[3].cancel()

    found = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(one) for one in found] == [
        asyncio.CancelledError,
        Contact,
        asyncio.CancelledError,
        asyncio.CancelledError,
        Contact,
        Contact,
    ]
    assert "c" not in {user for _, users, _ in plugin.calls for user in users}


async def test_a_call_for_which_nobody_waits_any_more_is_cancelled():
    plugin = Batch(latency=1.0, connections=9)
    lookups = gathered(plugin)
    first = [asyncio.create_task(lookups.find(user)) for user in "ab"]
    others = [asyncio.create_task(lookups.find(user)) for user in "cd"]
    await asyncio.gather(*first)
    await asyncio.sleep(0.5)
    assert plugin.in_progress == 1
    others[0].cancel()
    await asyncio.sleep(0.1)
    assert plugin.in_progress == 1
    others[1].cancel()
    await asyncio.sleep(0.1)
    assert plugin.in_progress == 0
    assert await lookups.find("e") == contact_of("e")


async def test_an_error_for_a_lookup_that_is_cancelled_at_that_moment_is_not_reported():
    class Down(Batch):
        @hookimpl
        async def find_contacts(self, ext_user_ids):
            await asyncio.sleep(LATENCY)
            asyncio.get_running_loop().call_soon(tasks[2].cancel)
            raise Unavailable("down")

    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    lookups = gathered(Down())
    tasks = [asyncio.create_task(lookups.find(user)) for user in "abcd"]
    await asyncio.gather(*tasks, return_exceptions=True)
    del tasks[2]
    gc.collect()

    assert reported == []


async def test_only_a_source_with_the_hook_gets_several_users():
    for plugin, calls in ((Single(), 8), (Batch(), 3)):
        contacts = Contacts({"brand": [source(plugin)]}, TIMEOUT, "")
        found = await asyncio.gather(*(contacts.find("brand", user, Channel.EMAIL) for user in "abcdefgh"))

        assert {one.outcome for one in found} == {LookupOutcome.FOUND}
        assert len(plugin.calls) == calls


async def test_a_source_in_memory_is_asked_at_once_for_each_user():
    class InMemory:
        @hookimpl
        def find_contact(self, ext_user_id):
            return contact_of(ext_user_id)

        @hookimpl
        async def find_contacts(self, ext_user_ids):
            raise AssertionError

    contacts = Contacts({"brand": [source(InMemory())]}, TIMEOUT, "")
    found = await asyncio.gather(*(contacts.find("brand", user, Channel.EMAIL) for user in "abcdefgh"))

    assert {one.outcome for one in found} == {LookupOutcome.FOUND}


async def test_clients_that_share_a_source_share_its_calls():
    plugin = Batch()
    it = source(plugin)
    contacts = Contacts({"one": [it], "two": [it]}, TIMEOUT, "")
    await asyncio.gather(
        *(contacts.find(client, user, Channel.EMAIL) for user in "abcdefgh" for client in ("one", "two"))
    )

    assert plugin.sizes == [1, 1, 7]


async def test_a_source_with_one_connection_answers_64_lookups_twenty_times_as_fast():
    seconds = {}
    for plugin in (Single(), Batch()):
        contacts = Contacts({"brand": [source(plugin)]}, TIMEOUT, "")
        began = now()
        await asyncio.gather(*(contacts.find("brand", f"u{n}", Channel.EMAIL) for n in range(64)))
        seconds[type(plugin)] = now() - began

    assert seconds[Single] == pytest.approx(64 * LATENCY)
    assert seconds[Batch] == pytest.approx(3 * LATENCY)


LOOKUPS = st.lists(
    st.tuples(
        st.floats(0.0, 0.3),
        st.sampled_from([*(f"u{number}" for number in range(130)), "no1", "no2"]),
        st.one_of(st.none(), st.none(), st.floats(0.0, 0.5)),
    ),
    max_size=400,
)
CALLS = st.lists(
    st.sampled_from([0.0, 0.01, 0.05, 0.2, 9.0, Unavailable("down"), ValueError("odd"), "junk"]), min_size=1
)


class Moody(Batch):
    """A source whose calls take so long, or fail in one of these ways, one after the other and then again."""

    def __init__(self, moods):
        super().__init__(connections=9)
        self.moods = moods

    async def answer(self, users):
        mood = self.moods[len(self.calls) % len(self.moods)]
        self.latency = mood if isinstance(mood, float) else 0.01
        # Another call may change the latency meanwhile, but this one sleeps already.
        found = await super().answer(users)
        if isinstance(mood, Exception):
            self.calls[-1][2] = False
            raise mood
        return "junk" if mood == "junk" else found

    @hookimpl
    async def find_contact(self, ext_user_id):
        found = await self.answer([ext_user_id])
        return found if isinstance(found, str) else found.get(ext_user_id)


@settings(deadline=None, max_examples=150)
@given(lookups=LOOKUPS, moods=CALLS)
def test_whatever_happens_each_lookup_gets_its_own_answer_in_time(lookups, moods):
    with structlog.testing.capture_logs(), asyncio.Runner(loop_factory=FastForward) as runner:
        runner.run(_check(lookups, moods))


async def _check(lookups, moods):
    plugin = Moody(moods)
    it = gathered(plugin, timeout=0.25)
    outcomes = Counter()

    async def look_up(delay, user, cancel_after):
        await asyncio.sleep(delay)
        began = now()
        try:
            async with asyncio.timeout(cancel_after):
                found = await it.find(user)
        except Unavailable:
            outcomes["unavailable"] += 1
        except TimeoutError:
            outcomes["cancelled"] += 1
        else:
            assert found == (None if user.startswith("no") else contact_of(user))
            # Not what a call has found that began before: the user may be blocked since then.
            assert any(begun >= began and user in users for begun, users, _ in plugin.calls)
            outcomes["found"] += 1
        # It waits for less than the timeout, then its call takes that at most, and its cancellation no time.
        assert now() - began <= 2 * 0.25 + 0.01

    await asyncio.gather(*(look_up(*one) for one in lookups))

    assert outcomes.total() == len(lookups)
    assert plugin.most_in_progress <= MAX_CALLS
    for _, users, _ in plugin.calls:
        assert 1 <= len(set(users)) == len(users) <= MAX_IDS
    while it._tasks:
        await asyncio.wait(it._tasks)
    assert (it._calls, len(it._waiting)) == (0, 0)
    assert plugin.in_progress == 0
    if all(isinstance(mood, float) and mood < 0.1 for mood in moods) and len(lookups) < MAX_IDS:
        assert outcomes["unavailable"] == 0
