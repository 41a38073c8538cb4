from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.config.client import Client
from gatepost.config.networks import Network, parse_address
from gatepost.errors import Code, Refused
from gatepost.model import Channel, Secret
from gatepost.web.auth import Authenticator

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
        # Only a trusted proxy is believed.
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),
        ("203.0.113.7", ["garbage"], "203.0.113.7"),
        ("127.0.0.1", ["203.0.113.7"], "127.0.0.1"),
        ("::ffff:203.0.113.7", ["198.51.100.1"], "203.0.113.7"),
        # A trusted proxy is believed about the address that it was called from, and no further.
        ("10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("::ffff:10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("fd00::1", ["2001:db8::7"], "2001:db8::7"),
        ("10.0.0.1", ["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.7, 10.0.0.2"], "203.0.113.7"),
        ("10.0.0.1", ["198.51.100.1,203.0.113.7,10.0.0.3,fd00::2"], "203.0.113.7"),
        ("10.0.0.1", ["garbage, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", [", , 203.0.113.7, 10.9.9.9"], "203.0.113.7"),
        # Several headers form one list, in their order.
        ("10.0.0.1", ["198.51.100.1", "203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7", "10.0.0.2"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7", "10.0.0.2, 10.0.0.3"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7", "garbage"], None),
        # The left-most address where all are trusted; the proxy itself where there is no header.
        ("10.0.0.1", ["10.0.0.5, 10.0.0.4"], "10.0.0.5"),
        ("10.0.0.1", ["fd00::5", "10.0.0.4"], "fd00::5"),
        ("10.0.0.1", [], "10.0.0.1"),
        # IPv4-mapped IPv6 addresses count as IPv4 in each position.
        ("10.0.0.1", ["::ffff:203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7, ::ffff:10.0.0.2"], "203.0.113.7"),
        ("10.0.0.1", ["::FFFF:cb00:7107"], "203.0.113.7"),
        # Some proxies add a port.
        ("10.0.0.1", ["203.0.113.7:4567"], "203.0.113.7"),
        ("10.0.0.1", ["[2001:db8::7]:4567"], "2001:db8::7"),
        ("10.0.0.1", ["[2001:db8::7]"], "2001:db8::7"),
        ("10.0.0.1", ["203.0.113.7, 10.0.0.2:80"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7\t,\t10.0.0.2 "], "203.0.113.7"),
        # The client address is unknown when an element is not an address.
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
def test_the_client_address_behind_proxies(peer, values, expected):
    found = Authenticator({}, PROXIES).client_address(peer, forwarded(*values))
    assert found == (parse_address(expected) if expected else None)


def test_header_names_are_case_insensitive():
    headers = [(b"X-Forwarded-For", b"203.0.113.7")]
    assert Authenticator({}, PROXIES).client_address("10.0.0.1", headers) == parse_address("203.0.113.7")


@given(st.lists(st.binary(max_size=60)), st.sampled_from(["10.0.0.1", "203.0.113.7", "fd00::1", "x"]))
def test_any_x_forwarded_for_gives_a_valid_address_or_none(values, peer):
    found = Authenticator({}, PROXIES).client_address(peer, [(b"x-forwarded-for", value) for value in values])
    assert found is None or parse_address(str(found)) == found


SMARTICO = parse_address("203.0.113.7")


def authenticate(clients, address=SMARTICO, values=(), channel=Channel.EMAIL):
    headers = [(b"content-type", b"application/json"), *((b"Authorization", value) for value in values)]
    return Authenticator(clients, ()).authenticate(address, headers, channel)


def refusal(*args, **kwargs):
    with pytest.raises(Refused) as refused:
        authenticate(*args, **kwargs)
    return refused.value


@pytest.mark.parametrize(
    "value",
    [b"sesame", b"Bearer new", "Schlüssel".encode()],
    ids=["plain", "while rotating", "not ASCII"],
)
def test_the_secret_is_the_whole_header(value):
    brand = client("sesame", "Bearer new", "Schlüssel")
    assert authenticate({"brand": brand}, values=[value]) == ("brand", brand)


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
def test_any_other_header_is_refused(value):
    refused = refusal({"brand": client("sesame", "Bearer new", "Schlüssel")}, values=[value])
    assert refused.code is Code.WRONG_AUTHORIZATION
    assert "missing" not in refused.message
    assert "esam" not in refused.message


def test_a_missing_header_is_named():
    refused = refusal({"brand": client("sesame")})
    assert (refused.code, refused.message) == (
        Code.WRONG_AUTHORIZATION,
        "the Authorization header is missing",
    )


@pytest.mark.parametrize("channel", Channel)
@pytest.mark.parametrize("values", [(b"sesame", b"sesame"), (b"x", b"sesame"), (b"sesame", b"x")])
def test_two_authorization_headers_are_refused(values, channel):
    clients = {"brand": client("sesame", sms_authorization=False)}
    assert refusal(clients, values=values, channel=channel).code is Code.WRONG_AUTHORIZATION


@pytest.mark.parametrize("address", [None, parse_address("198.51.100.1"), parse_address("2001:db8::1")])
@pytest.mark.parametrize("values", [(), (b"sesame",), (b"a", b"b")])
@pytest.mark.parametrize("channel", Channel)
def test_an_unlisted_address_is_refused_with_any_secret(address, values, channel):
    clients = {"brand": client("sesame", sms_authorization=False), "closed": client("sesame", ips=())}
    refused = refusal(clients, address, values, channel)
    assert refused.code is Code.NOT_ALLOWED
    assert not any(character.isdigit() for character in refused.message)


def test_a_secret_is_valid_only_from_its_clients_networks():
    here, there = client("one"), client("two", ips=("198.51.100.0/24",))
    assert refusal({"here": here, "there": there}, values=[b"two"]).code is Code.WRONG_AUTHORIZATION


def test_clients_that_share_a_network_differ_by_their_secrets():
    brands = {"one": client("1"), "two": client("2"), "three": client("3")}
    for name, value in (("one", b"1"), ("two", b"2"), ("three", b"3")):
        assert authenticate(brands, values=[value]) == (name, brands[name])


@pytest.mark.parametrize("values", [(), (b"wrong",)])
def test_sms_can_be_allowed_by_address_alone(values):
    by_address = client("sesame", sms_authorization=False)
    clients = {"strict": client("other"), "by-address": by_address}
    assert authenticate(clients, values=values, channel=Channel.SMS) == ("by-address", by_address)
    assert refusal(clients, values=values).code is Code.WRONG_AUTHORIZATION


def test_a_matching_secret_takes_precedence_over_the_address():
    strict = client("other")
    clients = {"by-address": client("sesame", sms_authorization=False), "strict": strict}
    assert authenticate(clients, values=[b"other"], channel=Channel.SMS) == ("strict", strict)


def test_the_address_alone_must_belong_to_one_client():
    clients = {name: client(name, sms_authorization=False) for name in ("one", "two")}
    assert refusal(clients, channel=Channel.SMS).code is Code.WRONG_AUTHORIZATION
    assert authenticate(clients, values=[b"two"], channel=Channel.SMS)[0] == "two"


def test_all_secrets_are_compared_also_after_a_match(monkeypatch):
    compared = []
    monkeypatch.setattr("hmac.compare_digest", lambda a, b: compared.append(a) or a == b)
    clients = {"one": client("1", "2"), "two": client("3")}
    counts = set()
    for value in (b"1", b"2", b"3", b"none"):
        compared.clear()
        with suppress(Refused):
            authenticate(clients, values=[value])
        counts.add(len(compared))
    assert counts == {3}


def test_ipv6_addresses_can_be_listed():
    brand = client("sesame", ips=("2001:db8::/32", "::ffff:198.51.100.0/120"))
    for address in ("2001:db8:1::1", "198.51.100.9", "::ffff:198.51.100.9"):
        assert authenticate({"brand": brand}, parse_address(address), [b"sesame"])[0] == "brand"


@pytest.mark.parametrize(
    ("peer", "headers", "allowed"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        ("::ffff:127.0.0.1", {}, True),
        ("10.0.0.20", {}, True),
        # A proxy in a private network, not trusted, that adds no header.
        ("10.0.0.21", {}, False),
        ("192.168.0.1", {}, False),
        ("8.8.8.8", {}, False),
        (None, {}, False),
        # A proxy that is not trusted: on this machine, and at Prometheus's address.
        ("127.0.0.1", {"x-forwarded-for": "10.0.0.20"}, False),
        ("127.0.0.1", {"x-forwarded-proto": "https"}, False),
        ("10.0.0.20", {"via": "1.1 proxy"}, False),
        # A trusted proxy.
        ("10.9.0.1", {"x-forwarded-for": "10.0.0.20"}, True),
        ("10.9.0.1", {"x-forwarded-for": "127.0.0.1"}, False),
        ("10.9.0.1", {"x-real-ip": "10.0.0.20"}, False),
        ("10.9.0.1", {}, False),
    ],
)
def test_who_may_read_the_metrics(peer, headers, allowed):
    authenticator = Authenticator({}, [Network("10.9.0.0/24")], [Network("10.0.0.20")])
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    assert authenticator.may_read_metrics(peer, raw) is allowed
