"""Contact lookup: canonical addresses and numbers, the chain of sources, and the cache."""

import asyncio
import re

import pytest
from email_validator import validate_email
from hypothesis import example, given
from hypothesis import strategies as st

from gatepost.config.settings import InstanceSettings
from gatepost.contacts.addresses import canonical_email, canonical_phone
from gatepost.contacts.lookup import ContactCache, Contacts, LookupOutcome, LookupResult
from gatepost.errors import ConfigError, Unavailable
from gatepost.hookspecs import hookimpl
from gatepost.model import Channel, Contact, Secret
from gatepost.plugin_host.instances import Instance

HOSTILE_EMAILS = [
    "",
    " ",
    "nobody",
    "a@b,c@d",
    "joe@example.com, ann@example.com",
    "joe@example.com;ann@example.com",
    "joe@example.com\r\nBcc: ann@example.com",
    "joe@example.com\n",
    " joe@example.com",
    "joe @example.com",
    "joe\t@example.com",
    "Joe <joe@example.com>",
    "<joe@example.com>",
    "mailto:joe@example.com",
    "joe@example.com\x00",
    "joe\udcff@example.com",
    "joe@example.com\udcff",
    "joe@exa\u202emple.com",
    "joe@[127.0.0.1]",
    "joe@127.0.0.1",
    "joe@localhost",
    '"joe smith"@example.com',
    "joe@example.com?subject=x",
    "joe@@example.com",
    "x" * 10_240 + "@example.com",
    "joe@" + "x" * 10_240 + ".com",
    "joe@example..com",
    "joe@xn--.com",
]

HOSTILE_PHONES = [
    "",
    " ",
    "none",
    "+44 7700 900123 x123",
    "+447700900123;ext=5",
    "tel:+447700900123",
    "+447700900123\r\n",
    "+447700900123\x00",
    "+447700900123,+447700900124",
    "+447700900123/+447700900124",
    "+٤٤٧٧٠٠٩٠٠١٢٣",
    "+４４７７００９００１２３",
    "\uff0b447700900123",
    "+1800FLOWERS",
    "+44\udcff7700900123",
    "++447700900123",
    "+999123456789",
    "+44",
    "+1234567890123456789",
    "1" * 10_240,
    "112",
    "joe@example.com",
]


def test_a_number_that_would_not_be_accepted_again_is_refused():
    assert canonical_phone("000000", "DE") is None


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("joe@example.com", "joe@example.com"),
        ("Joe.Bloggs+tag@EXAMPLE.com", "Joe.Bloggs+tag@example.com"),
        ("joe@exämple.com", "joe@xn--exmple-cua.com"),
        ("joe@desk.test", "joe@desk.test"),
        ("o'brien@example.co.uk", "o'brien@example.co.uk"),
    ],
)
def test_addresses_become_canonical(text, canonical):
    assert canonical_email(text) == canonical


@pytest.mark.parametrize("text", HOSTILE_EMAILS)
def test_a_text_that_is_not_exactly_one_address_is_refused(text):
    assert canonical_email(text) is None


@pytest.mark.parametrize(
    ("text", "region", "canonical"),
    [
        ("+447700900123", "", "+447700900123"),
        ("+44 (0)7700 900-123", "", "+447700900123"),
        ("07700 900123", "GB", "+447700900123"),
        ("0044 7700.900123", "DE", "+447700900123"),
        ("+1 650 253 0000", "GB", "+16502530000"),
        ("+39 06 1234 5678", "", "+390612345678"),
        ("07700 900123", "", None),
        ("253 0000", "US", None),
    ],
)
def test_numbers_become_canonical(text, region, canonical):
    assert canonical_phone(text, region) == canonical


@pytest.mark.parametrize("region", ["", "GB", "US"])
@pytest.mark.parametrize("text", HOSTILE_PHONES)
def test_a_text_that_is_not_exactly_one_number_is_refused(text, region):
    assert canonical_phone(text, region) is None


ADDRESSES = st.one_of(
    st.emails(),
    st.text(max_size=300),
    st.builds("{}@{}".format, st.text(max_size=70), st.text(max_size=70)),
    st.builds("{}@{}.com".format, st.text(min_size=1, max_size=9), st.text(min_size=1, max_size=9)),
)


@given(ADDRESSES)
@example("ß@ß.com")
@example("é@example.com")
def test_canonical_addresses_are_safe_and_stay_canonical(text):
    canonical = canonical_email(text)
    if canonical is None:
        return
    local, _, domain = canonical.rpartition("@")
    assert "@" not in local
    assert canonical.isprintable()
    assert not re.search(r"[\s,;<>()\"\\]", canonical)
    assert re.fullmatch(r"[a-z0-9.-]+", domain)
    assert canonical_email(canonical) == canonical


LOCALS = st.text("abcZ0.+-_!#@ \"'()é", max_size=70)
DOMAINS = st.one_of(
    st.text("abcZ0.-_éß@ []:", max_size=30),
    st.sampled_from(["example.com", "EXAMPLE.com", "bücher.example", "a.test", "localhost", "[192.0.2.1]"]),
)


@given(st.builds("{}@{}".format, LOCALS, DOMAINS))
def test_the_fast_path_for_plain_addresses_agrees_with_the_library(text):
    try:
        valid = validate_email(text, check_deliverability=False, test_environment=True)
    except ValueError:
        expected = None
    else:
        expected = f"{valid.local_part}@{valid.ascii_domain}"
    assert canonical_email(text) == expected


NUMBERS = st.one_of(
    st.text(max_size=50),
    st.text("+0123456789 ()-./", max_size=45),
    st.builds("+{}".format, st.integers(10**5, 10**17)),
    st.builds("{}{}".format, st.sampled_from(["", "0", "00", "011", "8", "1"]), st.integers(10**5, 10**13)),
)


@given(NUMBERS, st.sampled_from(["", "GB", "US", "DE", "IT", "RU", "BR", "MX", "AR"]))
def test_canonical_numbers_are_e164_and_stay_canonical(text, region):
    canonical = canonical_phone(text, region)
    if canonical is None:
        return
    assert re.fullmatch(r"\+[1-9][0-9]{6,14}", canonical)
    assert canonical_phone(canonical, region) == canonical
    assert canonical_phone(canonical, "") == canonical


class Source:
    """A source with a fixed answer that notes the ids it is asked for."""

    def __init__(self, answer, blocks=False):
        self.answer = answer
        self.blocks = blocks
        self.lookups = []

    @hookimpl
    async def find_contact(self, ext_user_id):
        self.lookups.append(ext_user_id)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class MemorySource(Source):
    @hookimpl
    def find_contact(self, ext_user_id):
        self.lookups.append(ext_user_id)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def contacts_of(*sources, region=""):
    instances = [
        Instance(InstanceSettings(name=f"source-{number}", use="fake", blocks=source.blocks), source)
        for number, source in enumerate(sources)
    ]
    return Contacts({"brand": instances}, timeout=5.0, default_region=region)


JOE = Contact(email=Secret("joe@EXAMPLE.com"), phone=Secret("07700 900123"), attributes={"city": "Valletta"})


async def test_the_first_source_that_knows_the_user_decides():
    first, second, third = Source(None), Source(JOE), Source(Contact(email=Secret("ann@example.com")))
    result = await contacts_of(first, second, third).find("brand", "joe", Channel.EMAIL)
    assert result.outcome is LookupOutcome.FOUND
    assert (result.recipient, result.attributes) == (Secret("joe@example.com"), {"city": "Valletta"})
    assert (first.lookups, second.lookups, third.lookups) == (["joe"], ["joe"], [])


async def test_a_number_is_read_in_the_default_region():
    assert (
        await contacts_of(Source(JOE), region="GB").find("brand", "joe", Channel.SMS)
    ).recipient == Secret("+447700900123")
    assert (
        await contacts_of(Source(JOE)).find("brand", "joe", Channel.SMS)
    ).outcome is LookupOutcome.NO_ADDRESS


@pytest.mark.parametrize("down", [Unavailable("the database is down"), RuntimeError("oops")])
async def test_a_source_that_is_down_is_skipped(down):
    assert (
        await contacts_of(Source(down), Source(JOE)).find("brand", "joe", Channel.EMAIL)
    ).outcome is LookupOutcome.FOUND
    assert (
        await contacts_of(Source(down), Source(None)).find("brand", "joe", Channel.EMAIL)
    ).outcome is LookupOutcome.UNREACHABLE
    assert (
        await contacts_of(Source(None), Source(down)).find("brand", "joe", Channel.EMAIL)
    ).outcome is LookupOutcome.UNREACHABLE


async def test_a_user_that_no_source_knows_is_unknown():
    assert (await contacts_of(Source(None), Source(None)).find("brand", "joe", Channel.EMAIL)).outcome is (
        LookupOutcome.UNKNOWN_USER
    )


async def test_a_known_user_without_an_address_is_not_looked_up_in_further_sources():
    last = Source(JOE)
    result = await contacts_of(Source(Contact(phone=Secret("+447700900123"))), last).find(
        "brand", "joe", Channel.EMAIL
    )
    assert result == LookupResult(LookupOutcome.NO_ADDRESS)
    assert last.lookups == []


EXCLUDED = Contact(email=Secret("joe@example.com"), blocked="self-excluded")
IN_LIST_ONLY = Contact(blocked="self-excluded")
DOWN = Unavailable("the database is down")


async def outcome_of(*sources, earlier=None):
    result = await contacts_of(*sources).find("brand", "joe", Channel.EMAIL, earlier)
    return result.outcome


@pytest.mark.parametrize("kind", [Source, MemorySource])
class TestBlockedUsers:
    @pytest.mark.parametrize("blocks", [False, True])
    async def test_a_blocked_user_is_not_found_and_the_reason_is_returned(self, kind, blocks):
        result = await contacts_of(kind(EXCLUDED, blocks)).find("brand", "joe", Channel.EMAIL)
        assert result == LookupResult(LookupOutcome.BLOCKED, blocked="self-excluded")

    async def test_a_blocked_user_without_an_address_is_blocked(self, kind):
        assert await outcome_of(kind(IN_LIST_ONLY)) is LookupOutcome.BLOCKED

    async def test_a_source_that_blocks_is_asked_although_another_knows_the_user(self, kind):
        last = kind(IN_LIST_ONLY, blocks=True)
        assert await outcome_of(kind(JOE), kind(None), last) is LookupOutcome.BLOCKED
        assert last.lookups == ["joe"]

    async def test_a_source_that_blocks_and_does_not_know_the_user_changes_nothing(self, kind):
        for sources in ([kind(JOE), kind(None, blocks=True)], [kind(None, blocks=True), kind(JOE)]):
            assert await outcome_of(*sources) is LookupOutcome.FOUND
        assert await outcome_of(kind(None, blocks=True)) is LookupOutcome.UNKNOWN_USER

    async def test_the_address_is_that_of_the_first_source_that_knows_the_user(self, kind):
        other = Contact(email=Secret("other@example.com"))
        result = await contacts_of(kind(None), kind(JOE, blocks=True), kind(other, blocks=True)).find(
            "brand", "joe", Channel.EMAIL
        )
        assert result.recipient == Secret("joe@example.com")

    @pytest.mark.parametrize("down", [DOWN, RuntimeError("oops")])
    @pytest.mark.parametrize("known", [JOE, None, Contact(phone=Secret("+447700900123"))])
    async def test_while_a_source_that_blocks_is_away_nothing_is_known(self, kind, known, down):
        assert await outcome_of(kind(known), kind(down, blocks=True)) is LookupOutcome.UNREACHABLE
        assert await outcome_of(kind(down, blocks=True), kind(known)) is LookupOutcome.UNREACHABLE

    async def test_a_block_counts_while_another_source_is_away(self, kind):
        assert await outcome_of(kind(EXCLUDED), kind(DOWN, blocks=True)) is LookupOutcome.BLOCKED
        assert await outcome_of(kind(DOWN), kind(EXCLUDED)) is LookupOutcome.BLOCKED


class TestEarlierResult:
    """The result of the arrival may serve the address of a send, and nothing else."""

    async def earlier(self, *sources):
        result = await contacts_of(*sources).find("brand", "joe", Channel.EMAIL)
        assert result.outcome is LookupOutcome.FOUND
        return result

    async def test_it_serves_the_address_while_its_source_is_away(self):
        earlier = await self.earlier(Source(JOE))
        assert await contacts_of(Source(DOWN)).find("brand", "joe", Channel.EMAIL, earlier) == earlier

    async def test_it_serves_the_address_although_a_later_source_has_another(self):
        earlier = await self.earlier(Source(JOE))
        other = Source(Contact(email=Secret("other@example.com")))
        found = await contacts_of(Source(DOWN), other).find("brand", "joe", Channel.EMAIL, earlier)
        assert found == earlier

    async def test_a_block_of_another_source_counts_all_the_same(self):
        earlier = await self.earlier(Source(JOE), Source(None, blocks=True))
        assert (
            await outcome_of(Source(DOWN), Source(EXCLUDED, blocks=True), earlier=earlier)
            is LookupOutcome.BLOCKED
        )

    async def test_a_source_that_blocks_has_to_answer(self):
        earlier = await self.earlier(Source(JOE, blocks=True))
        assert await outcome_of(Source(DOWN, blocks=True), earlier=earlier) is LookupOutcome.UNREACHABLE
        earlier = await self.earlier(Source(JOE), Source(None, blocks=True))
        assert (
            await outcome_of(Source(JOE), Source(DOWN, blocks=True), earlier=earlier)
            is LookupOutcome.UNREACHABLE
        )

    async def test_it_is_not_used_while_its_source_answers(self):
        earlier = await self.earlier(Source(JOE))
        assert await outcome_of(Source(EXCLUDED), earlier=earlier) is LookupOutcome.BLOCKED
        assert await outcome_of(Source(None), earlier=earlier) is LookupOutcome.UNKNOWN_USER
        assert await outcome_of(Source(Contact()), earlier=earlier) is LookupOutcome.NO_ADDRESS
        assert await outcome_of(Source(None), Source(DOWN), earlier=earlier) is LookupOutcome.UNREACHABLE
        moved = Contact(email=Secret("new@EXAMPLE.com"))
        found = await contacts_of(Source(moved)).find("brand", "joe", Channel.EMAIL, earlier)
        assert found.recipient == Secret("new@example.com")


async def test_sources_that_block_are_asked_at_the_same_time_as_the_others():
    begun = asyncio.Barrier(3)

    class Waiting(Source):
        @hookimpl
        async def find_contact(self, ext_user_id):
            await begun.wait()
            return self.answer

    async with asyncio.timeout(60):
        assert (
            await outcome_of(Waiting(JOE), Waiting(None, blocks=True), Waiting(None, blocks=True))
            is LookupOutcome.FOUND
        )


async def test_sources_in_memory_are_asked_without_a_task():
    looking = contacts_of(MemorySource(JOE), MemorySource(None, blocks=True)).find(
        "brand", "joe", Channel.EMAIL
    )
    with pytest.raises(StopIteration):
        looking.send(None)


@pytest.mark.parametrize("text", HOSTILE_EMAILS)
async def test_hostile_addresses_are_no_address(text):
    result = await contacts_of(Source(Contact(email=Secret(text)))).find("brand", "joe", Channel.EMAIL)
    assert result == LookupResult(LookupOutcome.NO_ADDRESS)


@pytest.mark.parametrize("text", HOSTILE_PHONES)
async def test_hostile_numbers_are_no_address(text):
    result = await contacts_of(Source(Contact(phone=Secret(text))), region="GB").find(
        "brand", "joe", Channel.SMS
    )
    assert result == LookupResult(LookupOutcome.NO_ADDRESS)


def test_an_unknown_region_refuses_the_start():
    with pytest.raises(ConfigError, match=r"contacts\.default_region"):
        contacts_of(region="XX")


def test_the_repr_of_a_result_shows_no_address():
    shown = repr(LookupResult(LookupOutcome.FOUND, Secret("joe@example.com"), {"city": "Valletta"}))
    assert shown == "<LookupResult found>"


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_cached_result_is_returned_once():
    cache = ContactCache(clock=Clock())
    lookup = LookupResult(LookupOutcome.FOUND, Secret("joe@example.com"))
    cache.put("1", lookup)
    assert cache.take("2") is None
    assert cache.take("1") is lookup
    assert cache.take("1") is None


def test_an_expired_result_is_not_returned():
    clock = Clock()
    cache = ContactCache(ttl=60, clock=clock)
    cache.put("1", LookupResult(LookupOutcome.NO_ADDRESS))
    cache.put("2", LookupResult(LookupOutcome.NO_ADDRESS))
    clock.now = 59.0
    assert cache.take("1") is not None
    clock.now = 60.0
    assert cache.take("2") is None


def test_expired_results_are_dropped_when_new_ones_come():
    clock = Clock()
    cache = ContactCache(ttl=60, clock=clock)
    for number in range(100):
        cache.put(str(number), LookupResult(LookupOutcome.NO_ADDRESS))
    clock.now = 60.0
    cache.put("new", LookupResult(LookupOutcome.NO_ADDRESS))
    assert len(cache._entries) == 1


def test_the_cache_is_limited_and_drops_the_oldest_first():
    cache = ContactCache(max_entries=4, clock=Clock())
    for name in ["1", "2", "3", "1", "4", "5"]:
        cache.put(name, LookupResult(LookupOutcome.NO_ADDRESS))
    assert [name for name in "12345" if cache.take(name)] == ["1", "3", "4", "5"]


def test_expired_results_are_dropped_without_a_lookup():
    now = [0.0]
    cache = ContactCache(ttl=60, clock=lambda: now[0])
    cache.put("a", LookupResult(LookupOutcome.FOUND, Secret("anna@players.example")))
    now[0] = 59.0
    cache.drop_expired()
    assert cache._entries
    now[0] = 60.0
    cache.drop_expired()
    assert not cache._entries
