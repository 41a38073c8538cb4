import itertools
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.config.networks import Network, parse_address
from gatepost.config.settings import Client
from gatepost.errors import Code, Refused
from gatepost.model import Channel, Secret
from gatepost.observe.log_throttle import LogThrottle
from gatepost.web.auth import Access

PROXIES = (Network("10.0.0.0/8"), Network("fd00::/8"))


def client(*secrets, ips=("203.0.113.0/24",), sms_authorization=True):
    return Client(
        authorization=tuple(Secret(secret) for secret in secrets),
        allow_ips=tuple(Network(ip) for ip in ips),
        sms_authorization=sms_authorization,
    )


def forwarded(*values):
    return [(b"host", b"x"), *((b"x-forwarded-for", value.encode("latin-1")) for value in values)]


@pytest.mark.parametrize(
    ("peer", "values", "expected"),
    [
        # Nobody is believed who is no trusted proxy.
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),
        ("203.0.113.7", ["garbage"], "203.0.113.7"),
        ("127.0.0.1", ["203.0.113.7"], "127.0.0.1"),
        ("::ffff:203.0.113.7", ["198.51.100.1"], "203.0.113.7"),
        # A trusted one is believed about who asked it, and no further.
        ("10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("::ffff:10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("fd00::1", ["2001:db8::7"], "2001:db8::7"),
        ("10.0.0.1", ["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.7, 10.0.0.2"], "203.0.113.7"),
        ("10.0.0.1", ["198.51.100.1,203.0.113.7,10.0.0.3,fd00::2"], "203.0.113.7"),
        ("10.0.0.1", ["garbage, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", [", , 203.0.113.7, 10.9.9.9"], "203.0.113.7"),
        # Several headers are one list, in their order.
        ("10.0.0.1", ["198.51.100.1", "203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7", "10.0.0.2"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7", "10.0.0.2, 10.0.0.3"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7", "garbage"], None),
        # All are trusted: the left-most. None is named: the proxy itself.
        ("10.0.0.1", ["10.0.0.5, 10.0.0.4"], "10.0.0.5"),
        ("10.0.0.1", ["fd00::5", "10.0.0.4"], "fd00::5"),
        ("10.0.0.1", [], "10.0.0.1"),
        # IPv4 in IPv6 clothes is IPv4, on each place.
        ("10.0.0.1", ["::ffff:203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7, ::ffff:10.0.0.2"], "203.0.113.7"),
        ("10.0.0.1", ["::FFFF:cb00:7107"], "203.0.113.7"),
        # With a port, as some proxies write it.
        ("10.0.0.1", ["203.0.113.7:4567"], "203.0.113.7"),
        ("10.0.0.1", ["[2001:db8::7]:4567"], "2001:db8::7"),
        ("10.0.0.1", ["[2001:db8::7]"], "2001:db8::7"),
        ("10.0.0.1", ["203.0.113.7, 10.0.0.2:80"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7\t,\t10.0.0.2 "], "203.0.113.7"),
        # What is no address is nobody's.
        ("10.0.0.1", [""], None),
        ("10.0.0.1", ["203.0.113.7,"], None),
        ("10.0.0.1", ["203.0.113.7, , 10.0.0.2"], None),
        ("10.0.0.1", ["203.0.113.7,,10.0.0.2"], None),
        ("10.0.0.1", ["203.0.113.7, unknown"], None),
        ("10.0.0.1", ["203.0.113.7, _hidden"], None),
        ("10.0.0.1", ["203.0.113.7 10.0.0.2"], None),
        ("10.0.0.1", ["203.0.113.7;10.0.0.2"], None),
        ("10.0.0.1", ["for=203.0.113.7"], None),
        ("10.0.0.1", ['"203.0.113.7"'], None),
        ("10.0.0.1", ["203.0.113.7:"], None),
        ("10.0.0.1", ["203.0.113.7:http"], None),
        ("10.0.0.1", ["203.0.113.7:123456"], None),
        ("10.0.0.1", ["2001:db8::7]:80"], None),
        ("10.0.0.1", ["[2001:db8::7"], None),
        ("10.0.0.1", ["[2001:db8::7]x"], None),
        ("10.0.0.1", ["203.0.113.007"], None),
        ("10.0.0.1", ["203.0.113"], None),
        ("10.0.0.1", ["0xcb.0.113.7"], None),
        ("10.0.0.1", ["3405803783"], None),
        ("10.0.0.1", ["203.0.113.7/32"], None),
        ("10.0.0.1", ["fe80::1%eth0"], None),
        ("10.0.0.1", ["[fe80::1%eth0]:80"], None),
        ("10.0.0.1", ["203.0.113.7%eth0"], None),
        ("10.0.0.1", ["203.0.113.7\x85"], None),
        ("10.0.0.1", ["203.0.113.7\xa0"], None),
        ("10.0.0.1", ["203.0.113.\xb2"], None),
        ("10.0.0.1", ["smartico.example"], None),
        ("fe80::1%eth0", ["203.0.113.7"], None),
        ("garbage", ["203.0.113.7"], None),
        ("", [], None),
        (None, ["203.0.113.7"], None),
    ],
)
def test_whose_address_counts(peer, values, expected):
    found = Access({}, PROXIES).caller(peer, forwarded(*values))
    assert found == (parse_address(expected) if expected else None)


def test_header_names_have_no_case():
    headers = [(b"X-Forwarded-For", b"203.0.113.7")]
    assert Access({}, PROXIES).caller("10.0.0.1", headers) == parse_address("203.0.113.7")


@given(st.lists(st.binary(max_size=60)), st.sampled_from(["10.0.0.1", "203.0.113.7", "fd00::1", "x"]))
def test_whatever_a_header_holds_is_an_address_or_nobodys(values, peer):
    found = Access({}, PROXIES).caller(peer, [(b"x-forwarded-for", value) for value in values])
    assert found is None or parse_address(str(found)) == found


SMARTICO = parse_address("203.0.113.7")


def admit(clients, address=SMARTICO, values=(), channel=Channel.EMAIL):
    headers = [(b"content-type", b"application/json"), *((b"Authorization", value) for value in values)]
    return Access(clients, ()).admit(address, headers, channel)


def refusal(*args, **kwargs):
    with pytest.raises(Refused) as refused:
        admit(*args, **kwargs)
    return refused.value


@pytest.mark.parametrize(
    "value",
    [b"sesame", b"Bearer new", "Schlüssel".encode()],
    ids=["plain", "while rotating", "not ASCII"],
)
def test_the_whole_header_is_the_secret(value):
    brand = client("sesame", "Bearer new", "Schlüssel")
    assert admit({"brand": brand}, values=[value]) == ("brand", brand)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"Sesame",
        b"sesame\xa0",
        b"ses ame",
        b"sesam",
        b"sesame\x00",
        b"Bearer sesame",
        b"new",
        b"\xff\xfe",
        b"sesame,sesame",
        "Schlüssel".encode("latin-1"),
        "Schlüssel".encode(),
    ],
)
def test_anything_else_is_not(value):
    refused = refusal({"brand": client("sesame", "Bearer new", "Schlüssel")}, values=[value])
    assert refused.code is Code.WRONG_AUTHORIZATION
    assert "missing" not in refused.message
    assert "esam" not in refused.message


def test_no_header_is_named_as_such():
    refused = refusal({"brand": client("sesame")})
    assert (refused.code, refused.message) == (
        Code.WRONG_AUTHORIZATION,
        "the Authorization header is missing",
    )


@pytest.mark.parametrize("channel", Channel)
@pytest.mark.parametrize("values", [(b"sesame", b"sesame"), (b"x", b"sesame"), (b"sesame", b"x")])
def test_two_headers_are_a_refusal(values, channel):
    clients = {"brand": client("sesame", sms_authorization=False)}
    assert refusal(clients, values=values, channel=channel).code is Code.WRONG_AUTHORIZATION


@pytest.mark.parametrize("address", [None, parse_address("198.51.100.1"), parse_address("2001:db8::1")])
@pytest.mark.parametrize("values", [(), (b"sesame",), (b"a", b"b")])
@pytest.mark.parametrize("channel", Channel)
def test_an_address_that_nobody_lists_is_refused_whatever_it_knows(address, values, channel):
    clients = {"brand": client("sesame", sms_authorization=False), "shut": client("sesame", ips=())}
    refused = refusal(clients, address, values, channel)
    assert refused.code is Code.NOT_ALLOWED
    assert not any(character.isdigit() for character in refused.message)


def test_a_secret_counts_only_from_its_own_network():
    here, there = client("one"), client("two", ips=("198.51.100.0/24",))
    assert refusal({"here": here, "there": there}, values=[b"two"]).code is Code.WRONG_AUTHORIZATION


def test_brands_that_share_a_network_are_told_apart_by_their_secrets():
    brands = {"one": client("1"), "two": client("2"), "three": client("3")}
    for name, value in (("one", b"1"), ("two", b"2"), ("three", b"3")):
        assert admit(brands, values=[value]) == (name, brands[name])


@pytest.mark.parametrize("values", [(), (b"wrong",)])
def test_sms_may_come_in_by_address_alone(values):
    older = client("sesame", sms_authorization=False)
    clients = {"strict": client("other"), "older": older}
    assert admit(clients, values=values, channel=Channel.SMS) == ("older", older)
    assert refusal(clients, values=values).code is Code.WRONG_AUTHORIZATION


def test_a_secret_that_matches_wins_over_the_address():
    strict = client("other")
    clients = {"older": client("sesame", sms_authorization=False), "strict": strict}
    assert admit(clients, values=[b"other"], channel=Channel.SMS) == ("strict", strict)


def test_two_clients_without_a_secret_are_nobody():
    clients = {name: client(name, sms_authorization=False) for name in ("one", "two")}
    assert refusal(clients, channel=Channel.SMS).code is Code.WRONG_AUTHORIZATION
    assert admit(clients, values=[b"two"], channel=Channel.SMS)[0] == "two"


def test_every_secret_is_compared_whichever_matches(monkeypatch):
    compared = []
    monkeypatch.setattr("hmac.compare_digest", lambda a, b: compared.append(a) or a == b)
    clients = {"one": client("1", "2"), "two": client("3")}
    counts = set()
    for value in (b"1", b"2", b"3", b"none"):
        compared.clear()
        with suppress(Refused):
            admit(clients, values=[value])
        counts.add(len(compared))
    assert counts == {3}


def test_ipv6_callers_are_listed_too():
    brand = client("sesame", ips=("2001:db8::/32", "::ffff:198.51.100.0/120"))
    for address in ("2001:db8:1::1", "198.51.100.9", "::ffff:198.51.100.9"):
        assert admit({"brand": brand}, parse_address(address), [b"sesame"])[0] == "brand"


@pytest.mark.parametrize(
    ("peer", "headers", "observes"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        ("::ffff:127.0.0.1", {}, True),
        ("10.0.0.20", {}, True),
        # A proxy in a private network that nobody trusts and that says nothing of itself.
        ("10.0.0.21", {}, False),
        ("192.168.0.1", {}, False),
        ("8.8.8.8", {}, False),
        (None, {}, False),
        # A proxy that is not trusted, here and where Prometheus is.
        ("127.0.0.1", {"x-forwarded-for": "10.0.0.20"}, False),
        ("127.0.0.1", {"x-forwarded-proto": "https"}, False),
        ("10.0.0.20", {"via": "1.1 proxy"}, False),
        # One that is.
        ("10.9.0.1", {"x-forwarded-for": "10.0.0.20"}, True),
        ("10.9.0.1", {"x-forwarded-for": "127.0.0.1"}, False),
        ("10.9.0.1", {"x-real-ip": "10.0.0.20"}, False),
        ("10.9.0.1", {}, False),
    ],
)
def test_who_may_observe(peer, headers, observes):
    access = Access({}, [Network("10.9.0.0/24")], [Network("10.0.0.20")])
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    assert access.may_observe(peer, raw) is observes


def test_a_line_is_due_once_a_minute_and_key():
    now = [100.0]
    lines = LogThrottle(lambda: now[0])
    assert [lines.due(key) for key in ("a", "a", "b", "a", "b")] == [True, False, True, False, False]
    now[0] = 159.9
    assert not lines.due("a")
    now[0] = 160.0
    assert [lines.due(key) for key in ("b", "a", "a")] == [True, True, False]


def test_a_crowd_fills_neither_the_memory_nor_the_disk():
    now = [0.0]
    lines = LogThrottle(lambda: now[0], max_keys=10)
    assert sum(lines.due(str(key)) for key in range(1000)) == 10
    now[0] = 61.0
    assert sum(lines.due(str(key)) for key in itertools.chain(range(500), range(500))) == 10
