"""Rules that no message can reach are found, and no others."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.config.routes import Route
from gatepost.model import Channel, Secret
from gatepost.routing.conditions import Conditions
from gatepost.routing.reachability import takes_everything, unreachable_rules

EMAIL, SMS = Channel.EMAIL, Channel.SMS
CLIENTS = ("amazing", "brilliant", "splendid")


def unreachable(channel, *rules):
    routes = [Route(name=f"r{number}", use=("x",), **rule) for number, rule in enumerate(rules)]
    return dict(unreachable_rules(routes, channel, CLIENTS, range(len(routes))))


@pytest.mark.parametrize(
    ("channel", "before", "rule"),
    [
        (SMS, [{}], {"countries": ("GB",)}),
        (SMS, [{"clients": CLIENTS}], {}),
        (SMS, [{"clients": ("amazing", "splendid")}], {"clients": ("splendid",), "senders": ("A",)}),
        (SMS, [{"clients": (one,)} for one in CLIENTS], {"countries": ("GB",)}),
        (SMS, [{"countries": ("GB", "DE", "IE")}], {"countries": ("IE", "GB")}),
        (
            SMS,
            [{"countries": ("GB",)}, {"countries": ("DE",)}],
            {"countries": ("DE", "GB"), "senders": ("A",)},
        ),
        (SMS, [{"prefixes": ("+44",)}], {"prefixes": ("+4477", "+4478")}),
        (SMS, [{"prefixes": ("+44", "+1")}], {"countries": ("GB", "JM")}),
        (SMS, [{"countries": ("DE",)}], {"prefixes": ("+4915",)}),
        (SMS, [{"countries": ("GB", "GG", "IM", "JE")}], {"prefixes": ("+4477",)}),
        (SMS, [{"senders": ("A", "B")}], {"senders": ("B",)}),
        (SMS, [{}], {}),
        # Every part of it has a rule of its own.
        (
            SMS,
            [
                {"clients": ("amazing",), "countries": ("GB",)},
                {"clients": ("amazing",), "countries": ("DE",)},
                {"clients": ("splendid",), "prefixes": ("+4",)},
            ],
            {"clients": ("amazing", "splendid"), "countries": ("GB", "DE")},
        ),
        (EMAIL, [{"domains": ("*.example",)}], {"domains": ("*.mail.example", "a.example")}),
        (EMAIL, [{"senders": ("@amazing.co",)}], {"senders": ("codes@Amazing.co", "@amazing.co")}),
    ],
)
def test_a_rule_whose_messages_are_all_taken_before_is_found(channel, before, rule):
    assert unreachable(channel, *before, rule)[len(before)]


@pytest.mark.parametrize(
    ("channel", "before", "rule"),
    [
        (SMS, [{"countries": ("GB",)}], {}),
        (SMS, [{"clients": CLIENTS[:2]}], {}),
        (SMS, [{"clients": ("amazing",), "senders": ("A",)}], {"clients": ("amazing",)}),
        (SMS, [{"countries": ("GB",)}], {"prefixes": ("+44",)}),
        (SMS, [{"prefixes": ("+4477",)}], {"countries": ("GB",)}),
        (SMS, [{"prefixes": ("+4477",)}], {"prefixes": ("+44",)}),
        (SMS, [{"senders": ("A",)}], {"senders": ("a",)}),
        (SMS, [{"countries": ("GB",), "senders": ("A",)}], {"countries": ("GB",)}),
        (EMAIL, [{"domains": ("*.example",)}], {"domains": ("mail.test", "*.co.example.test")}),
        (EMAIL, [{"domains": ("*.mail.example",)}], {"domains": ("mail.example",)}),
        (EMAIL, [{"domains": ("mail.example",)}], {"domains": ("*.mail.example",)}),
        (EMAIL, [{"senders": ("codes@amazing.co",)}], {"senders": ("@amazing.co",)}),
        (
            SMS,
            [
                {"clients": ("amazing",), "countries": ("GB",)},
                {"clients": ("splendid",), "countries": ("DE",)},
            ],
            {"clients": ("amazing", "splendid"), "countries": ("GB", "DE")},
        ),
    ],
)
def test_a_rule_that_some_message_reaches_is_not(channel, before, rule):
    assert unreachable(channel, *before, rule) == {}


def test_a_rule_whose_countries_and_prefixes_exclude_each_other_is_found():
    assert unreachable(SMS, {"countries": ("DE", "GB"), "prefixes": ("+1", "+353")}) == {0: []}
    assert unreachable(SMS, {"countries": ("DE", "GB"), "prefixes": ("+1", "+44")}) == {}


def test_rules_with_a_fault_take_nothing_and_are_not_judged():
    routes = [Route(name="a", use=("x",)), Route(name="b", use=("x",)), Route(name="c", use=("x",))]

    assert list(unreachable_rules(routes, SMS, CLIENTS, {1, 2})) == [(2, [1])]
    assert list(unreachable_rules(routes, SMS, CLIENTS, {0})) == []


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([{}], True),
        ([{"clients": CLIENTS[:2]}, {"clients": CLIENTS[2:]}], True),
        ([{"clients": CLIENTS[:2]}], False),
        ([{"countries": ("GB",)}, {"senders": ("A",)}], False),
        ([{"countries": ("GB",)}, {}], True),
        ([], False),
    ],
)
def test_whether_every_message_of_a_channel_fits_a_rule(rules, expected):
    routes = [Route(name="r", use=("x",), **rule) for rule in rules]

    assert takes_everything(routes, SMS, CLIENTS) is expected


def some(values):
    return st.lists(st.sampled_from(values), unique=True, max_size=3).map(tuple)


rules = st.fixed_dictionaries(
    {
        "clients": some(CLIENTS),
        "senders": some(["A", "B"]),
        "prefixes": some(["+4", "+44", "+447", "+4477", "+1", "+12"]),
    }
)
# One message of each kind that these rules can tell apart.
MESSAGES = list(
    itertools.product(
        CLIENTS,
        ["A", "B", "C"],
        [
            "+4915123456789",
            "+448001111222",
            "+447400123456",
            "+447700900123",
            "+13015550123",
            "+12015550123",
            "+353850123456",
        ],
    )
)


@given(st.lists(rules, max_size=5))
def test_a_rule_is_unreachable_exactly_when_no_message_reaches_it(some_rules):
    found = unreachable(SMS, *some_rules)

    routes = [Route(name="r", use=("x",), **rule) for rule in some_rules]
    bounded = [
        msgspec.structs.replace(one, clients=one.clients or frozenset(CLIENTS))
        for one in (Conditions.of(route, SMS) for route in routes)
    ]
    reached = set()
    for client, sender, number in MESSAGES:
        for position, one in enumerate(bounded):
            if client in one.clients and one.sender_fits(sender) and one.recipient_fits(number):
                reached.add(position)
                break
    assert found.keys() == set(range(len(routes))) - reached


@given(
    st.lists(
        st.fixed_dictionaries(
            {"countries": some(["GB", "GG", "DE", "US"]), "prefixes": some(["+4", "+4477", "+49", "+1"])}
        ),
        max_size=5,
    ),
    st.sampled_from([number for _, _, number in MESSAGES] + ["+447781123456", "+883510012345"]),
)
def test_no_message_reaches_a_rule_that_is_said_to_be_unreachable(some_rules, number):
    found = unreachable(SMS, *some_rules)

    routes = [Route(name="r", use=("x",), **rule) for rule in some_rules]
    fitting = [
        place
        for place, route in enumerate(routes)
        if not list(Conditions.of(route, SMS).unmet("amazing", "", Secret(number)))
    ]
    assert not fitting or fitting[0] not in found
