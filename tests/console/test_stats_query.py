"""The parameters of the statistics: what they mean, and what is said of those that mean nothing."""

from urllib.parse import parse_qs, urlencode

import pytest

from gatepost.console.stats_query import Choices, parse
from gatepost.model import Channel
from gatepost.outbox.statistics_report import Dimension
from gatepost.web.admin.known_names import NO_ADDRESSES

NOW = 1_800_014_400.0
"""2027-01-15 12:00:00Z."""

KNOWN = Choices(client=["brand", "other"], route=["promo"], plugin=["box"])


def query_of(text, clients=()):
    given = parse_qs(text, keep_blank_values=True)
    return parse(lambda name: given.get(name, []), KNOWN, clients, NOW)


def test_without_parameters_it_is_the_last_week_by_day():
    query = query_of("")
    assert (query.problems, query.by) == ({}, ["day"])
    assert (query.wanted.since, query.wanted.until) == (NOW - 7 * 86_400, None)
    assert not query.wanted.clients


def test_the_fields_that_a_form_leaves_empty_mean_nothing():
    form = "period=24h&since=&until=&by=client&by=day&client=&channel=&route=&plugin=&country="
    query = query_of(form)
    assert (query.problems, query.dimensions) == ({}, [Dimension.CLIENT, Dimension.DAY])
    assert query.wanted.since == NOW - 86_400
    assert query_of(query.text) == query_of("period=24h&by=client,day")


def test_times_count_only_for_the_period_that_is_given_by_them():
    times = "since=2027-01-01T06:00&until=2027-01-02"
    wanted = query_of(times).wanted
    assert (wanted.since, wanted.until) == (NOW - 14.25 * 86_400, NOW - 13.5 * 86_400)
    assert query_of(f"period=24h&{times}").wanted.until is None


def test_a_time_with_a_zone_comes_back_into_the_form_as_utc():
    query = query_of("since=2027-01-15T12:00%2B02:00")
    assert query.values["since"] == "2027-01-15T10:00:00"
    assert query_of(query.text) == query


def test_every_filter_is_taken_over():
    wanted = query_of("client=other&channel=sms&route=promo&plugin=gone-box&country=de").wanted
    assert (wanted.clients, wanted.channel, wanted.route) == (["other"], Channel.SMS, "promo")
    assert (wanted.plugin, wanted.country) == ("gone-box", "DE")


def test_without_a_choice_a_user_of_some_clients_gets_those():
    assert query_of("", clients=["other"]).wanted.clients == ["other"]
    assert query_of("client=other", clients=["brand", "other"]).wanted.clients == ["other"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("period=1y", "there is no period '1y': choose from 24h, 7d, 30d, custom"),
        ("by=week", "there is no 'week': choose from day, hour"),
        ("by=day,", "there is no ''"),
        ("period=custom", "give a date or a time in UTC"),
        ("since=yesterday", "'yesterday' is no time"),
        ("since=2027-01-01&until=2026-99-99", "'2026-99-99' is no time"),
        ("since=2027-01-02&until=2027-01-01", "the beginning must be before the end"),
        ("since=2028-01-01", "and not in the future"),
        ("since=0000-00-00", "'0000-00-00' is no time"),
        ("client=brnad", "there is no client 'brnad': is it brand?"),
        ("channel=fax", "there is no channel 'fax'"),
        ("route=%00", "there is no route '\\x00'"),
        ("plugin=a%00b", "a name has no control characters"),
        ("country=Germany", "'Germany' is no country: give its two letters"),
        ("country=%D0%94%D0%95", "is no country"),
    ],
)
def test_a_wrong_parameter_is_named(text, problem):
    (said,) = query_of(text).problems.values()
    assert problem in said


FIELDS = ("period", "since", "until", "by", "client", "channel", "route", "plugin", "country")


@pytest.mark.parametrize("private", ["anna@example.com", "+447700900123"])
@pytest.mark.parametrize("field", FIELDS)
def test_what_looks_like_an_address_is_refused_and_not_shown_again(field, private):
    query = query_of(urlencode({field: private}))
    assert query.problems == {field: NO_ADDRESSES}
    assert private not in str(query)


def test_all_problems_are_named_at_once():
    assert query_of("by=week&country=x&channel=fax").problems.keys() == {"by", "country", "channel"}
