"""Which rule takes a message, and why not the ones before."""

import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.config.routes import Route, Routes
from gatepost.model import Channel, Secret
from gatepost.routing import router as router_module
from gatepost.routing.router import RouteOutcome, Router

EMAIL, SMS = Channel.EMAIL, Channel.SMS
CLIENTS = {"amazing": None, "splendid": None}


def router(email=(), sms=()):
    return Router(SimpleNamespace(clients=CLIENTS, routes=Routes(email=tuple(email), sms=tuple(sms))))


def taken(rules, channel, *, client="amazing", sender="", to=None):
    """Return the name of the rule that takes the message, or the outcome where none does."""
    decision = router(**{channel.value: rules}).decide(channel, client, sender, Secret(to) if to else None)
    return decision.route.name if decision.route else decision.outcome.value


REST = Route(name="rest", use=("x",))


@pytest.mark.parametrize(
    ("client", "expected"), [("amazing", "one"), ("splendid", "rest"), ("of_an_older_configuration", "rest")]
)
def test_a_rule_for_clients_takes_only_their_messages(client, expected):
    rules = [Route(name="one", clients=("amazing",), use=("x",)), REST]

    assert taken(rules, SMS, client=client, to="+4915123456789") == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("+447400123456", "islands"),
        ("+353850123456", "islands"),
        # A number of Ofcom for films and examples, in no numbering plan.
        ("+447700900123", "islands"),
        ("+447781123456", "rest"),  # Guernsey
        ("+4915123456789", "rest"),
        ("+12042345678", "canada"),
        ("+12015550123", "rest"),
        ("+883510012345", "rest"),  # of no country
    ],
)
def test_a_rule_for_countries_takes_the_numbers_of_these_countries(number, expected):
    rules = [
        Route(name="islands", countries=("GB", "IE"), use=("x",)),
        Route(name="canada", countries=("CA",), use=("x",)),
        REST,
    ]

    assert taken(rules, SMS, to=number) == expected


def test_a_rule_for_prefixes_takes_the_numbers_that_begin_with_one():
    rules = [Route(name="mobile", prefixes=("+4477", "+4915"), use=("x",)), REST]

    assert taken(rules, SMS, to="+447700900123") == "mobile"
    assert taken(rules, SMS, to="+4915123456789") == "mobile"
    assert taken(rules, SMS, to="+448001111") == "rest"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("anna@gmail.com", "large"),
        ("anna@mail.gmail.com", "rest"),
        ("anna@notgmail.com", "rest"),
        ("anna@uni.example", "below"),
        ("anna@mail.uni.example", "below"),
        ("anna@example", "rest"),
        ("anna@xn--bcher-kva.example.com", "large"),
        ("gmail.com@other.test", "rest"),
    ],
)
def test_a_rule_for_domains_takes_the_addresses_there(address, expected):
    rules = [
        Route(name="large", domains=("Gmail.com", "Bücher.example.com"), use=("x",)),
        Route(name="below", domains=("*.example",), use=("x",)),
        REST,
    ]

    assert taken(rules, EMAIL, to=address) == expected


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        ("codes@amazing.co", "codes"),
        ("Codes@amazing.co", "rest"),
        ("news@news.amazing.co", "news"),
        ("codes@sub.news.amazing.co", "rest"),
        ("", "rest"),
    ],
)
def test_a_rule_for_email_senders_takes_these_addresses_and_domains(sender, expected):
    rules = [
        Route(name="codes", senders=("codes@Amazing.co",), use=("x",)),
        Route(name="news", senders=("@news.amazing.co",), use=("x",)),
        REST,
    ]

    assert taken(rules, EMAIL, sender=sender, to="anna@x.example") == expected


@pytest.mark.parametrize(
    ("sender", "expected"),
    [("AmazingCode", "codes"), ("7", "codes"), ("amazingcode", "rest"), ("Amazing7", "rest"), ("", "rest")],
)
def test_a_rule_for_text_senders_compares_them_exactly(sender, expected):
    rules = [Route(name="codes", senders=("AmazingCode", "7"), use=("x",)), REST]

    assert taken(rules, SMS, sender=sender, to="+447700900123") == expected


def test_all_conditions_of_a_rule_must_hold():
    rule = Route(name="one", clients=("amazing",), countries=("GB",), senders=("A",), use=("x",))

    assert taken([rule], SMS, sender="A", to="+447700900123") == "one"
    assert taken([rule], SMS, sender="B", to="+447700900123") == "no_route"
    assert taken([rule], SMS, sender="A", to="+4915123456789") == "no_route"
    assert taken([rule], SMS, client="splendid", sender="A", to="+447700900123") == "no_route"


def test_the_first_rule_that_fits_decides_also_when_it_refuses():
    rules = [Route(name="no", countries=("US",), refuse="no texts to the US"), REST]

    decision = router(sms=rules).decide(SMS, "amazing", "", Secret("+12015550123"))

    assert decision.outcome is RouteOutcome.REFUSED
    assert decision.route.refuse == "no texts to the US"
    assert taken(list(reversed(rules)), SMS, to="+12015550123") == "rest"


def test_a_country_that_is_known_already_is_not_looked_up_again(monkeypatch):
    monkeypatch.setattr(router_module, "country_of", None)
    rules = router(sms=[Route(name="gb", countries=("GB",), use=("x",)), REST])

    assert rules.decide(SMS, "amazing", "", Secret("+447700900123"), "GB").route.name == "gb"
    assert rules.decide(SMS, "amazing", "", Secret("+883510012345"), "").route.name == "rest"


def test_the_country_is_looked_up_once_for_all_rules(monkeypatch):
    numbers = []
    monkeypatch.setattr(router_module, "country_of", lambda number: numbers.append(number) or "DE")
    rules = router(sms=[Route(name=one, countries=(one,), use=("x",)) for one in ("GB", "IE", "DE")])

    assert rules.decide(SMS, "amazing", "", Secret("+4915123456789")).route.name == "DE"
    assert numbers == ["+4915123456789"]


def test_without_the_recipient_it_is_undecided_only_where_the_recipient_matters():
    by_recipient = Route(name="gb", countries=("GB",), use=("x",))
    by_sender = Route(name="codes", senders=("A",), use=("x",))
    elsewhere = Route(name="other", clients=("splendid",), prefixes=("+1",), use=("x",))

    assert taken([by_sender, by_recipient], SMS, sender="A") == "codes"
    assert taken([by_sender, by_recipient, REST], SMS, sender="B") == "undecided"
    assert taken([elsewhere, REST], SMS) == "rest"
    assert taken([by_recipient], SMS) == "undecided"
    assert taken([elsewhere], SMS) == "no_route"


def test_a_channel_may_fit_a_client_when_one_of_its_rules_is_for_the_client():
    rules = router(
        sms=[Route(name="one", clients=("amazing",), countries=("GB",), use=("x",))],
        email=[Route(name="two", clients=("splendid",), refuse="no"), REST],
    )

    assert [rules.may_fit(SMS, name) for name in CLIENTS] == [True, False]
    assert [rules.may_fit(EMAIL, name) for name in CLIENTS] == [True, True]
    assert not router().may_fit(SMS, "amazing")


def test_a_rule_is_found_by_its_name_in_its_channel_only():
    rules = router(sms=[REST])

    assert rules.route(SMS, "rest") == REST
    assert rules.route(EMAIL, "rest") is None
    assert rules.route(SMS, "") is None


def test_the_rules_before_the_one_that_takes_a_message_are_explained_without_the_recipient():
    rules = [
        Route(name="splendid", clients=("splendid",), senders=("A", "B"), use=("x",)),
        Route(name="islands", countries=("GB", "IE"), prefixes=("+4477",), use=("x",)),
        REST,
        Route(name="never", use=("x",)),
    ]

    skipped = router(sms=rules).explain(SMS, "amazing", "C", Secret("+4915123456789"))

    assert [(one.position, one.route.name, list(one.reasons)) for one in skipped] == [
        (
            1,
            "splendid",
            [
                "the client is none of its clients (splendid)",
                "the sender is none of its senders (A, B)",
            ],
        ),
        (
            2,
            "islands",
            [
                "the country of the number, DE, is not GB or IE",
                "the number does not begin with +4477",
            ],
        ),
    ]
    (mail,) = router(email=[Route(name="one", domains=("gmail.com",), use=("x",)), REST]).explain(
        EMAIL, "amazing", "", Secret("anna@mail.example")
    )
    assert mail.reasons == ["the domain of the address, mail.example, is not gmail.com"]


def test_a_list_of_plugins_needs_no_phone_numbers():
    """The library takes 140 ms and 3 MB, and its parsing takes longer than the whole decision."""
    rules = router(sms=Routes.listed(SMS, ("x", "y")))
    loaded = {name: sys.modules.pop(name) for name in list(sys.modules) if name.startswith("phonenumbers")}
    try:
        assert rules.decide(SMS, "amazing", "", Secret("+447700900123")).route.name == "sms"
        assert not [name for name in sys.modules if name.startswith("phonenumbers")]
    finally:
        sys.modules.update(loaded)


numbers = st.sampled_from(
    ["+447700900123", "+447781123456", "+4915123456789", "+12015550123", "+883510012345"]
)
routes = st.builds(
    Route,
    name=st.just("one"),
    clients=st.lists(st.sampled_from([*CLIENTS]), unique=True).map(tuple),
    senders=st.lists(st.sampled_from(["A", "B"]), unique=True).map(tuple),
    countries=st.lists(st.sampled_from(["GB", "GG", "DE", "US"]), unique=True).map(tuple),
    prefixes=st.lists(st.sampled_from(["+4", "+447", "+1", "+4915"]), unique=True).map(tuple),
    use=st.just(("x",)),
)


@given(
    st.lists(routes, max_size=5),
    st.sampled_from([*CLIENTS]),
    st.sampled_from(["A", "B", "C", ""]),
    numbers.map(Secret) | st.none(),
)
def test_a_message_is_taken_by_the_first_rule_that_has_no_reason_against_it(rules, client, sender, recipient):
    rules = [
        Route(name=str(place), **{k: getattr(one, k) for k in one.__struct_fields__ if k != "name"})
        for place, one in enumerate(rules)
    ]
    under_test = router(sms=rules)

    decision = under_test.decide(SMS, client, sender, recipient)
    skipped = under_test.explain(SMS, client, sender, recipient)

    if decision.outcome is RouteOutcome.TAKEN:
        assert decision.route == rules[len(skipped)]
    elif decision.outcome is RouteOutcome.NO_ROUTE:
        assert len(skipped) == len(rules)
    else:
        undecided = rules[len(skipped)]
        assert recipient is None
        assert undecided.countries or undecided.prefixes
        # Once the recipient is known it is decided, and no rule before this one takes it.
        later = under_test.decide(SMS, client, sender, Secret("+447700900123"))
        assert later.outcome is not RouteOutcome.UNDECIDED
        assert later.route not in rules[: len(skipped)]
