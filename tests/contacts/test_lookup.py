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


def test_what_would_not_be_taken_again_is_no_number():
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
def test_what_is_not_exactly_one_address_is_none(text):
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
def test_what_is_not_one_number_is_none(text, region):
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
def test_canonical_addresses_are_safe_and_stay_what_they_are(text):
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
def test_the_short_way_for_plain_addresses_agrees_with_the_library(text):
    try:
        found = validate_email(text, check_deliverability=False, test_environment=True)
    except ValueError:
        expected = None
    else:
        expected = f"{found.local_part}@{found.ascii_domain}"
    assert canonical_email(text) == expected


NUMBERS = st.one_of(
    st.text(max_size=50),
    st.text("+0123456789 ()-./", max_size=45),
    st.builds("+{}".format, st.integers(10**5, 10**17)),
    st.builds("{}{}".format, st.sampled_from(["", "0", "00", "011", "8", "1"]), st.integers(10**5, 10**13)),
)


@given(NUMBERS, st.sampled_from(["", "GB", "US", "DE", "IT", "RU", "BR", "MX", "AR"]))
def test_canonical_numbers_are_e164_and_stay_what_they_are(text, region):
    canonical = canonical_phone(text, region)
    if canonical is None:
        return
    assert re.fullmatch(r"\+[1-9][0-9]{6,14}", canonical)
    assert canonical_phone(canonical, region) == canonical
    assert canonical_phone(canonical, "") == canonical


class Source:
    """Answers what it is told to, and counts how often it was asked."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    @hookimpl
    async def find_contact(self, ext_user_id):
        self.asked.append(ext_user_id)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def chain(*sources, region=""):
    return Contacts(
        {
            "brand": [
                Instance(InstanceSettings(name=f"source-{number}", use="fake"), source)
                for number, source in enumerate(sources)
            ]
        },
        timeout=5.0,
        default_region=region,
    )


JOE = Contact(email=Secret("joe@EXAMPLE.com"), phone=Secret("07700 900123"), attributes={"city": "Valletta"})


async def test_the_first_source_that_knows_the_user_decides():
    first, second, third = Source(None), Source(JOE), Source(Contact(email=Secret("ann@example.com")))
    found = await chain(first, second, third).find("brand", "joe", Channel.EMAIL)
    assert found == LookupResult(LookupOutcome.FOUND, Secret("joe@example.com"), {"city": "Valletta"})
    assert (first.asked, second.asked, third.asked) == (["joe"], ["joe"], [])


async def test_a_number_is_read_in_the_default_region():
    assert (await chain(Source(JOE), region="GB").find("brand", "joe", Channel.SMS)).recipient == Secret(
        "+447700900123"
    )
    assert (await chain(Source(JOE)).find("brand", "joe", Channel.SMS)).outcome is LookupOutcome.NO_ADDRESS


@pytest.mark.parametrize("down", [Unavailable("the database is down"), RuntimeError("oops")])
async def test_a_source_that_is_down_is_passed_over(down):
    assert (
        await chain(Source(down), Source(JOE)).find("brand", "joe", Channel.EMAIL)
    ).outcome is LookupOutcome.FOUND
    assert (
        await chain(Source(down), Source(None)).find("brand", "joe", Channel.EMAIL)
    ).outcome is LookupOutcome.UNREACHABLE
    assert (
        await chain(Source(None), Source(down)).find("brand", "joe", Channel.EMAIL)
    ).outcome is LookupOutcome.UNREACHABLE


async def test_a_user_whom_nobody_knows_is_unknown():
    assert (await chain(Source(None), Source(None)).find("brand", "joe", Channel.EMAIL)).outcome is (
        LookupOutcome.UNKNOWN_USER
    )


async def test_a_user_without_an_address_is_not_asked_for_further_on():
    last = Source(JOE)
    found = await chain(Source(Contact(phone=Secret("+447700900123"))), last).find(
        "brand", "joe", Channel.EMAIL
    )
    assert found == LookupResult(LookupOutcome.NO_ADDRESS)
    assert last.asked == []


@pytest.mark.parametrize("text", HOSTILE_EMAILS)
async def test_hostile_addresses_are_no_address(text):
    found = await chain(Source(Contact(email=Secret(text)))).find("brand", "joe", Channel.EMAIL)
    assert found == LookupResult(LookupOutcome.NO_ADDRESS)


@pytest.mark.parametrize("text", HOSTILE_PHONES)
async def test_hostile_numbers_are_no_address(text):
    found = await chain(Source(Contact(phone=Secret(text))), region="GB").find("brand", "joe", Channel.SMS)
    assert found == LookupResult(LookupOutcome.NO_ADDRESS)


def test_a_region_that_is_none_refuses_the_start():
    with pytest.raises(ConfigError, match=r"contacts\.default_region"):
        chain(region="XX")


def test_a_finding_shows_nobody():
    shown = repr(LookupResult(LookupOutcome.FOUND, Secret("joe@example.com"), {"city": "Valletta"}))
    assert shown == "<LookupResult found>"


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_what_is_remembered_is_served_once():
    memory = ContactCache(clock=Clock())
    lookup = LookupResult(LookupOutcome.FOUND, Secret("joe@example.com"))
    memory.put("1", lookup)
    assert memory.take("2") is None
    assert memory.take("1") is lookup
    assert memory.take("1") is None


def test_what_is_old_is_forgotten():
    clock = Clock()
    memory = ContactCache(seconds=60, clock=clock)
    memory.put("1", LookupResult(LookupOutcome.NO_ADDRESS))
    memory.put("2", LookupResult(LookupOutcome.NO_ADDRESS))
    clock.now = 59.0
    assert memory.take("1") is not None
    clock.now = 60.0
    assert memory.take("2") is None


def test_old_findings_leave_the_memory_when_new_ones_come():
    clock = Clock()
    memory = ContactCache(seconds=60, clock=clock)
    for number in range(100):
        memory.put(str(number), LookupResult(LookupOutcome.NO_ADDRESS))
    clock.now = 60.0
    memory.put("new", LookupResult(LookupOutcome.NO_ADDRESS))
    assert len(memory._kept) == 1


def test_the_memory_is_bounded_and_the_oldest_goes_first():
    memory = ContactCache(most=4, clock=Clock())
    for name in ["1", "2", "3", "1", "4", "5"]:
        memory.put(name, LookupResult(LookupOutcome.NO_ADDRESS))
    assert [name for name in "12345" if memory.take(name)] == ["1", "3", "4", "5"]


def test_what_nobody_asks_for_is_forgotten_when_its_time_is_over():
    now = [0.0]
    contact_cache = ContactCache(seconds=60, clock=lambda: now[0])
    contact_cache.put("a", LookupResult(LookupOutcome.FOUND, Secret("anna@players.example")))
    now[0] = 59.0
    contact_cache.forget()
    assert contact_cache._kept
    now[0] = 60.0
    contact_cache.forget()
    assert not contact_cache._kept
