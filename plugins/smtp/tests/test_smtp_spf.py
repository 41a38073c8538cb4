"""The evaluation of SPF records: the examples of RFC 7208, its limits, and hostile records."""

import asyncio
import contextlib
import ipaddress
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost_smtp import dns_lookup
from gatepost_smtp.dns_lookup import Dns
from gatepost_smtp.spf import MAX_LOOKUPS, MAX_NAMES, check_host
from gatepost_smtp.spf_record import InvalidRecord, UnknownMacro, expand, parse_record
from gatepost_smtp.testing.dns_server import DnsServer

APPENDIX_A = {
    ("example.com", "A"): ["192.0.2.10", "192.0.2.11"],
    ("example.com", "MX"): ["10 mail-a.example.com.", "20 mail-b.example.com."],
    ("amy.example.com", "A"): ["192.0.2.65"],
    ("bob.example.com", "A"): ["192.0.2.66"],
    ("mail-a.example.com", "A"): ["192.0.2.129"],
    ("mail-b.example.com", "A"): ["192.0.2.130"],
    ("example.org", "MX"): ["10 mail-c.example.org."],
    ("mail-c.example.org", "A"): ["192.0.2.140"],
    ("10.2.0.192.in-addr.arpa", "PTR"): ["example.com."],
    ("65.2.0.192.in-addr.arpa", "PTR"): ["amy.example.com."],
    ("140.2.0.192.in-addr.arpa", "PTR"): ["mail-c.example.org."],
    # A rogue reverse zone.
    ("4.0.0.10.in-addr.arpa", "PTR"): ["bob.example.com."],
}


@pytest.fixture(autouse=True)
def time_to_answer(monkeypatch):
    monkeypatch.setattr(dns_lookup, "_SECONDS", 1_000.0)


@pytest.fixture
async def server():
    async with DnsServer().serving() as serving:
        yield serving


@pytest.fixture
def check(server):
    """Return a function that publishes records by domain, and evaluates the one of example.com for an address."""

    async def check(address, record, **others):
        for domain, text in {"example.com": record, **others}.items():
            server.publish(domain, "TXT", text)
        return await check_host(address, "example.com", Dns(server.resolver))

    return check


@pytest.mark.parametrize(
    ("record", "passing", "failing"),
    [
        ("v=spf1 +all", ["192.0.2.1", "2001:db8::1"], []),
        ("v=spf1 a -all", ["192.0.2.10", "192.0.2.11"], ["192.0.2.12", "2001:db8::1"]),
        ("v=spf1 a:example.org -all", [], ["192.0.2.10", "192.0.2.140"]),
        ("v=spf1 mx -all", ["192.0.2.129", "192.0.2.130"], ["192.0.2.10"]),
        ("v=spf1 mx:example.org -all", ["192.0.2.140"], ["192.0.2.129"]),
        ("v=spf1 mx mx:example.org -all", ["192.0.2.129", "192.0.2.130", "192.0.2.140"], ["192.0.2.65"]),
        (
            "v=spf1 mx/30 mx:example.org/30 -all",
            ["192.0.2.128", "192.0.2.131", "192.0.2.140", "192.0.2.143"],
            ["192.0.2.132", "192.0.2.144"],
        ),
        ("v=spf1 ptr -all", ["192.0.2.10", "192.0.2.65"], ["192.0.2.140", "10.0.0.4"]),
        ("v=spf1 ip4:192.0.2.128/28 -all", ["192.0.2.129"], ["192.0.2.65"]),
        ("v=spf1 exists:%{ir}.list.%{d} -all", ["192.0.2.77"], ["192.0.2.78"]),
    ],
)
async def test_the_simple_examples_of_appendix_a(server, check, record, passing, failing):
    server.records.update(APPENDIX_A)
    server.publish("77.2.0.192.list.example.com", "A", "127.0.0.2")

    assert {(await check(address, record)).result for address in passing} <= {"pass"}
    assert {(await check(address, record)).result for address in failing} <= {"fail"}


async def test_several_domains_may_share_a_record(server):
    server.records.update(APPENDIX_A)
    server.publish("example.org", "TXT", "v=spf1 include:example.com include:example.net -all")
    server.publish("la.example.org", "TXT", "v=spf1 redirect=example.org")
    server.publish("example.com", "TXT", "v=spf1 mx -all")
    server.publish("example.net", "TXT", "v=spf1 ip4:192.0.2.200 -all")
    dns = Dns(server.resolver)

    for address, expected in [("192.0.2.129", "pass"), ("192.0.2.200", "pass"), ("192.0.2.201", "fail")]:
        assert (await check_host(address, "la.example.org", dns)).result == expected


async def test_an_intersection_of_two_records(server, check):
    server.records.update(APPENDIX_A)
    server.publish("ip4._spf.example.com", "TXT", "v=spf1 -ip4:192.0.2.0/24 +all")
    server.publish("ptr._spf.example.com", "TXT", "v=spf1 -ptr:example.com +all")
    record = "v=spf1 -include:ip4._spf.%{d} -include:ptr._spf.%{d} +all"

    assert (await check("192.0.2.65", record)).result == "pass"
    assert (await check("192.0.2.140", record)).result == "fail"


VALUES = {
    "s": "strong-bad@email.example.com",
    "l": "strong-bad",
    "o": "email.example.com",
    "d": "email.example.com",
}
IPV6 = "2.0.0.1.0.d.b.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.c.b.0.1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%{s}", "strong-bad@email.example.com"),
        ("%{o}", "email.example.com"),
        ("%{d}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}", "com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{l}", "strong-bad"),
        ("%{l-}", "strong.bad"),
        ("%{lr-}", "bad.strong"),
        ("%{l1r-}", "strong"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
        ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
        ("%{S}", "strong-bad%40email.example.com"),
        ("a%%b%_c%-d", "a%b c%20d"),
    ],
)
def test_the_macros_of_section_7_4(text, expected):
    assert expand(text, VALUES | {"i": "192.0.2.3", "v": "in-addr"}) == expected


def test_the_macros_of_section_7_4_for_ipv6():
    expanded = expand("%{ir}.%{v}._spf.%{d2}", VALUES | {"i": IPV6, "v": "ip6"})

    assert expanded == f"{'.'.join(reversed(IPV6.split('.')))}.ip6._spf.example.com"


async def test_a_macro_of_an_ipv6_address_has_its_nibbles(server, check):
    server.publish(f"{IPV6}.ip6.list.example.com", "A", "127.0.0.2")

    assert (await check("2001:db8::cb01", "v=spf1 exists:%{i}.%{v}.list.%{o} -all")).result == "pass"


def test_a_long_name_loses_labels_on_the_left():
    assert expand("%{d}.%{d}", {"d": ".".join(["x" * 59] * 4)}) == ".".join(["x" * 59] * 4)


@pytest.mark.parametrize(("first", "length"), [(1, 253), (2, 251)])
def test_a_name_of_hostile_length_is_shortened_at_once_and_not_more_than_needed(first, length):
    name = expand("%{d}." * 2_400 + "x" * first + ".a" * 126, {"d": ".".join(["b"] * 100)})

    assert len(name) == length


def test_a_macro_that_only_the_receiver_knows_is_unknown():
    with pytest.raises(UnknownMacro, match=r"^%\{h\}$"):
        expand("%{h}.example", {"d": "x.example"})


@pytest.mark.parametrize(
    "terms",
    [
        *("ip4:192.0.2.1/33", "ip4:192.0.2", "ip4:2001:db8::1", "ip4", "ip6:192.0.2.1", "ip6:2001:db8::/129"),
        *(
            "ip4:192.0.2.1/255.255.255.0",
            "ip4:192.0.2.1/024",
            "a:192.0.2.1",
            "a:example",
            "a:",
            "a/33",
            "a//129",
        ),
        *(
            "a:example.com:8080",
            "all:example.com",
            "all.",
            "include",
            "include:example.com/24",
            "exists",
            "ptr/24",
        ),
        *(
            "redirect=",
            "redirect=a.example redirect=b.example",
            "exp=a.example exp=b.example",
            "-redirect=a.example",
        ),
        *(
            "moose:a.example",
            "a:%{x}.example",
            "a:%{d0}.example",
            "a:%{d.example",
            "a:%d.example",
            "a:%{c}.example",
        ),
        *("mx:a.éxample", "=example", "++all", "a:a.example/", "a:-.example-", "\ta"),
    ],
)
def test_terms_that_break_the_rules(terms):
    with pytest.raises(InvalidRecord, match="is not valid"):
        parse_record(f"v=spf1 {terms} -all")


@pytest.mark.parametrize(
    "terms",
    [
        *("A:EXAMPLE.com", "a/24//64", "mx:example.com./24", "a:%{d}", "a:x%%", "IP4:192.0.2.1", "ip6:::1/0"),
        *(
            "unknown=",
            "unknown=%{d}/x",
            "exp=%{d}.example",
            "?include:_spf.example.com",
            "a:1.example",
            "a:a.x-1",
        ),
    ],
)
def test_terms_that_follow_the_rules(terms):
    assert parse_record(f"v=spf1 {terms}  -all ").directives[-1].mechanism == "all"


async def test_the_term_that_decides_is_named(check):
    assert await check("192.0.2.1", "v=spf1 ip4:192.0.2.1 ~all") == ("pass", "ip4:192.0.2.1")
    assert await check("192.0.2.2", "v=spf1 ip4:192.0.2.1 ~all") == ("softfail", "~all")
    assert await check("192.0.2.2", "v=spf1 ?ip4:192.0.2.2") == ("neutral", "?ip4:192.0.2.2")
    assert (await check("192.0.2.2", "v=spf1")).result == "neutral"
    assert (await check("192.0.2.2", "v=spf10 a")).result == "none"


async def test_an_error_in_an_included_record_counts_and_is_located(check):
    verdict = await check("192.0.2.1", "v=spf1 include:b.example ~all", **{"b.example": "v=spf1 ip4:x -all"})

    assert verdict == ("permerror", 'the term "ip4:x" is not valid (in the record of b.example)')


async def test_an_include_without_a_record_is_an_error(check):
    assert await check("192.0.2.1", "v=spf1 include:b.example ~all") == (
        "permerror",
        "b.example has no SPF record, and include: leads there",
    )
    assert (await check("192.0.2.1", "v=spf1 redirect=b.example")).result == "permerror"


async def test_a_loop_is_named(check):
    verdict = await check(
        "192.0.2.1", "v=spf1 include:b.example", **{"b.example": "v=spf1 include:Example.com"}
    )

    assert verdict == ("permerror", "it includes itself: example.com → b.example → example.com")


async def test_a_record_may_be_included_twice(check):
    verdict = await check(
        "192.0.2.1", "v=spf1 include:b.example include:b.example ~all", **{"b.example": "v=spf1 -all"}
    )

    assert verdict == ("softfail", "~all")


async def test_an_answer_of_hostile_length_is_cut(server):
    server.publish("a.example", "A", *(f"192.0.{number // 200}.{number % 200}" for number in range(1_000)))

    assert len(await Dns(server.resolver).addresses_of_version("a.example", 4)) == 500


@pytest.mark.parametrize(("terms", "expected"), [(10, "softfail"), (11, "permerror")])
async def test_ten_terms_may_ask_the_dns(server, check, terms, expected):
    server.publish("host.example", "A", "192.0.2.9")

    record = " ".join(["v=spf1", *["a:host.example"] * terms, "~all"])
    assert (await check("192.0.2.1", record)).result == expected


@pytest.mark.parametrize(("terms", "expected"), [(2, "softfail"), (3, "permerror")])
async def test_two_terms_may_lead_to_nothing(check, terms, expected):
    record = " ".join(["v=spf1", *["a:gone.example"] * terms, "~all"])
    assert (await check("192.0.2.1", record)).result == expected


@pytest.mark.parametrize(("servers", "expected"), [(MAX_NAMES, "softfail"), (MAX_NAMES + 1, "permerror")])
async def test_ten_mail_servers_may_be_looked_up(server, check, servers, expected):
    server.publish("example.com", "MX", *(f"10 m{number}.example.com." for number in range(servers)))

    assert (await check("192.0.2.1", "v=spf1 mx ~all")).result == expected


async def test_a_name_that_the_dns_can_not_hold_is_no_match(check):
    record = f"v=spf1 a:{'x' * 64}.example a:a..example exists:.example ~all"
    assert (await check("192.0.2.1", record)).result == "softfail"


async def test_a_record_of_hostile_length_is_refused_and_its_quote_is_short(check):
    assert "longer than 10,000" in (await check("192.0.2.1", "v=spf1 " + "ip4:192.0.2.1 " * 2_000)).reason
    assert len((await check("192.0.2.1", "v=spf1 " + "x" * 5_000)).reason) < 150


async def test_an_ipv4_address_in_ipv6_form_is_an_ipv4_address(check):
    assert (await check("::ffff:192.0.2.1", "v=spf1 ip4:192.0.2.1 -all")).result == "pass"


@pytest.mark.parametrize(
    "hostile", ["a" * 9_900 + "\n", "a:" + "x" * 9_900 + "\n", "a:" + "%{d}" * 2_400 + "-"]
)
def test_the_time_for_a_hostile_term_is_that_for_a_usual_record(hostile):
    """With quadratic steps it would be a hundred times as long."""

    def cpu(text):
        parse_record.cache_clear()
        begun = time.thread_time()
        with contextlib.suppress(InvalidRecord):
            parse_record(f"v=spf1 {text}")
        return time.thread_time() - begun

    # Each is timed beside the other, which other work on the machine slows down as much.
    usual = "a:amazing.example " * 500
    assert min(cpu(hostile) / cpu(usual) for _ in range(5)) < 10


@given(st.text() | st.text("v=spf1 ip4:6/.-+~?%{}dirlxm0aceu_\\", max_size=200))
def test_any_text_is_a_record_or_an_invalid_one(text):
    try:
        record = parse_record(f"v=spf1 {text}")
        [expand(one.domain, dict.fromkeys("slodiphv", "a.example")) for one in record.directives]
    except InvalidRecord:
        pass


@given(st.ip_addresses(), st.ip_addresses(), st.integers(0, 128))
def test_a_network_permits_its_addresses(address, base, length):
    network = ipaddress.ip_network((base, min(length, base.max_prefixlen)), strict=False)
    [directive, _] = parse_record(f"v=spf1 ip{base.version}:{base}/{network.prefixlen} -all").directives

    assert (address in directive.network) == (address in network)


NAMES = ("a.example", "b.example", "c.example")
TERMS = st.sampled_from(
    [
        *(f"{kind}:{name}" for kind in ("include", "a", "mx", "exists", "ptr") for name in NAMES),
        *(f"redirect={name}" for name in NAMES),
        *(
            "ptr",
            "mx",
            "a",
            "include:%{d}",
            "include:x.%{d}",
            "exists:%{i}.%{d}",
            "exists:%{l}.%{d}",
            "?all",
            "-all",
        ),
        *("ip4:192.0.2.0/24", "ip6:2001:db8::/32", "bad:"),
    ]
)
RECORDS = st.lists(TERMS, max_size=15).map(lambda terms: " ".join(["v=spf1", *terms]))


@settings(max_examples=50, deadline=None)
@given(st.lists(RECORDS, min_size=3, max_size=3), st.sampled_from(["192.0.2.1", "2001:db8::1"]))
def test_any_records_are_decided_with_few_questions(records, address):
    async def evaluate():
        async with DnsServer().serving() as server:
            for name, record in zip(NAMES, records, strict=True):
                server.publish(name, "TXT", record)
                server.publish(name, "MX", *(f"10 {other}." for other in NAMES * 4))
                server.publish(name, "A", *(f"192.0.2.{number}" for number in range(100, 200)))
            verdict = await check_host(address, NAMES[0], Dns(server.resolver))
            return verdict, len(server.questions)

    verdict, questions = asyncio.run(evaluate())
    assert verdict.result != "temperror"
    assert questions <= 1 + MAX_LOOKUPS * (1 + MAX_NAMES)
