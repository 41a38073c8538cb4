import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.config.networks import Network, parse_address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:DB8::7", "2001:db8::7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("::ffff:cb00:7107", "203.0.113.7"),
        ("::203.0.113.7", "::cb00:7107"),
    ],
)
def test_an_address_is_parsed(text, expected):
    assert parse_address(text) == ipaddress.ip_address(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1.2.3.4",
        "1.2.3.4 ",
        "1.2.3.4\n",
        "1.2.3",
        "1.2.3.4.5",
        "01.2.3.4",
        "1.2.3.256",
        "1.2.3.4/32",
        "0x1.2.3.4",
        "16909060",
        "１.2.3.4",
        "fe80::1%eth0",
        "fe80::1%",
        "1.2.3.4%1",
        "[::1]",
        "::1::",
        "localhost",
        "\x00",
    ],
)
def test_another_text_is_no_address(text):
    assert parse_address(text) is None


@given(st.text())
def test_any_text_is_an_address_or_none(text):
    address = parse_address(text)
    assert address is None or parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        ("203.0.113.7", "203.0.113.7", "203.0.113.8"),
        ("203.0.113.0/24", "203.0.113.255", "203.0.114.0"),
        ("0.0.0.0/0", "255.255.255.255", "::1"),
        ("::/0", "::1", "1.2.3.4"),
        ("2001:db8::/32", "2001:db8:ffff::", "2001:db9::"),
        ("::ffff:203.0.113.0/120", "203.0.113.9", "203.0.114.0"),
        ("::ffff:203.0.113.7", "203.0.113.7", "203.0.113.6"),
    ],
)
def test_a_network_contains_its_addresses(network, inside, outside):
    assert parse_address(inside) in Network(network)
    assert parse_address(outside) not in Network(network)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("203.0.113.7/24", "write 203.0.113.0/24"),
        ("2001:db8::1/32", "write 2001:db8::/32"),
        ("203.0.113.0/33", "is not an address or a network"),
        ("", "is not an address or a network"),
        ("smartico.example", "is not an address or a network"),
        ("203.0.113.0-9", "is not an address or a network"),
        ("::ffff:0:0/90", "write ::ffc0:0:0/90"),
    ],
)
def test_the_error_of_a_wrong_entry_says_what_to_write(text, advice):
    with pytest.raises(ValueError, match=advice):
        Network(text)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("10.0.0.0/8", "10.1.0.0/16", True),
        ("10.0.0.0/8", "11.0.0.0/8", False),
        ("10.0.0.1", "10.0.0.1", True),
        ("0.0.0.0/0", "::/0", False),
        ("::ffff:10.0.0.0/104", "10.1.2.3", True),
        ("2001:db8::/32", "2001:db8:1::/48", True),
        ("2001:db8::/32", "2001:db9::/32", False),
    ],
)
def test_networks_overlap_when_they_share_an_address(one, other, expected):
    assert Network(one).overlaps(Network(other)) is expected
    assert Network(other).overlaps(Network(one)) is expected


def test_networks_that_mean_the_same_are_equal():
    assert len({Network("203.0.113.7"), Network("203.0.113.7/32"), Network("::ffff:203.0.113.7")}) == 1
    assert Network("203.0.113.7") != "203.0.113.7"
    assert repr(Network("203.0.113.7")) == "203.0.113.7/32"
