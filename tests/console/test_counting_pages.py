"""The pages that count, on a real store of both kinds: the overview and the statistics."""

import asyncio
import csv
import html
import io
import json
import re
from html.parser import HTMLParser

import pytest
from sqlalchemy import update

from console_site import NOON
from gatepost import __version__
from gatepost.callbacks.slots import RestingTarget
from gatepost.errors import Unavailable
from gatepost.model import Channel, Status
from gatepost.outbox import (
    pauses,
    replicas,
)
from gatepost.outbox.limits import client_limits
from gatepost.outbox.pauses import PauseOrder, Scope
from gatepost.outbox.replicas import Sign
from gatepost.outbox.schema import statuses
from gatepost.outbox.statistics_report import Dimension, StatisticsFilter, read_groups
from gatepost.outbox.statistics_table import as_csv, build

HOSTILE = "=<img src=x onerror=alert(1)>'\""


@pytest.fixture(autouse=True)
def enough_time(monkeypatch):
    """Let a page count to the end on a slow machine too."""
    monkeypatch.setattr("gatepost.console.stats_page.PAGE_SECONDS", 60.0)
    monkeypatch.setattr("gatepost.console.stats_page.CSV_SECONDS", 60.0)


class _Rows(HTMLParser):
    def __init__(self):
        super().__init__()
        self.rows = []
        self._cell = None

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self._cell = []

    def handle_endtag(self, tag):
        if tag in {"td", "th"} and self._cell is not None:
            self.rows[-1].append(" ".join("".join(self._cell).split()))
            self._cell = None

    def handle_data(self, data):
        if self._cell is not None:
            self._cell.append(data)


def rows(text):
    """Return the rows of all tables of a page, by their first cells."""
    parser = _Rows()
    parser.feed(text)
    return {row[0]: row[1:] for row in parser.rows}


def figures(text):
    """Return the row of figures of the overview, by their names."""
    found = re.findall(r"<dt>(.*?)</dt><dd><span class=\"figure\">(.*?)</span>", text)
    return dict(found)


def drawn(text):
    """Return the data of the chart of a page: the times, and each line by its name."""
    (data,) = re.findall(r"data-chart='(.*?)'", text)
    chart = json.loads(html.unescape(data))
    return chart["step"], chart["times"], {one["name"]: one["values"] for one in chart["series"]}


DELIVERED, OPENED, FAILED = Status.DELIVERED, Status.OPENED, Status.FAILED
SMS = {"channel": Channel.SMS, "route": "sms", "country": "DE"}


async def test_an_empty_store_has_an_overview_and_statistics(site):
    status, text = await site.get("/")
    assert (status, figures(text)["Messages waiting"], figures(text)["Callbacks waiting"]) == (200, "0", "0")
    assert "No message was accepted." in text
    assert "data-chart" not in text
    status, text = await site.get("/stats")
    assert (status, "Nothing was counted for these choices." in text) == (200, True)


async def test_the_overview_shows_traffic_and_how_far_messages_got(site):
    await site.send(DELIVERED, OPENED)
    await site.send(FAILED, **SMS)
    site.clock.now += 3600
    await site.send(DELIVERED)
    await site.send()
    await site.wait(**SMS)
    _, text = await site.get("/")
    step, times, lines = drawn(text)
    assert (step, len(times), times[-1]) == ("hour", 25, NOON + 3600)
    assert {name: values[-2:] for name, values in lines.items()} == {
        "messages": [2, 3],
        "accepted": [2, 2],
        "delivered": [1, 1],
        "failed": [1, 0],
    }
    found = rows(text)
    assert found["email"] == ["3", "2 66.7 %", "1 33.3 %", "0", "0"]
    assert found["DE"] == ["1", "0", "0", "1 100.0 %", "0"]
    assert found["box"] == ["4", "2 50.0 %", "1 25.0 %", "1 25.0 %", "0"]
    assert found["2027-01-15 13:00:00Z"] == ["3", "2", "1", "0"]
    assert figures(text)["Messages waiting"] == "1"
    # Of each message one callback after the other.
    assert figures(text)["Callbacks waiting"] == "4"


async def test_a_country_where_all_is_rejected_is_on_the_overview(site):
    await site.reject(**SMS)
    await site.send(**SMS | {"country": "GB"})
    assert rows((await site.get("/"))[1])["DE"] == ["0", "0", "0", "0", "1"]


async def test_what_waits_leads_to_its_messages_and_to_its_pause(site):
    await site.send(**SMS)
    waiting = await site.wait(**SMS)
    _, text = await site.get("/")
    links = [html.unescape(one) for one in re.findall(r'href="(/[^"]*client=[^"]*)"', text)]
    assert links[1] == "/plugins?client=brand&channel=sms#pause"
    _, text = await site.get(links[0])
    assert re.findall(r'href="/messages/([0-9a-f-]{36})"', text) == [waiting]


async def test_only_what_was_sent_in_the_last_hour_counts_as_sent_in_it(site):
    await site.send(DELIVERED)
    site.clock.now += 3000
    await site.send(DELIVERED)
    assert figures((await site.get("/"))[1])["Sent in the last hour"] == "2"
    site.clock.now += 601
    await site.send()
    assert figures((await site.get("/"))[1])["Sent in the last hour"] == "2"
    site.clock.now += 7200
    assert figures((await site.get("/"))[1])["Sent in the last hour"] == "0"


async def test_callbacks_that_were_given_up_are_shown(site):
    await site.send()

    def give_up(tx, items):
        tx.connection.execute(update(statuses).values(callback_state="dead", due_at=None))
        return items

    await site.outbox.change(give_up, None)
    found = figures((await site.get("/"))[1])
    assert (found["Callbacks waiting"], found["Callbacks given up"]) == ("0", "1")


async def test_the_overview_shows_how_the_parts_are(site):
    now = asyncio.get_running_loop().time()
    site.admin.throttles["box"].begin(now)
    site.admin.throttles["box"].end(now, Unavailable("the relay is <away>", retry_after=100))
    rest = RestingTarget("b.example:443", seconds=9, failing_for=700, reason="HTTP 500")
    site.admin.callbacks.resting_targets = lambda: [("other", rest)]
    await site.wait(client="other", route="email", limits=client_limits("other", Channel.EMAIL, 1))
    await site.outbox.change(pauses.pause, PauseOrder(Scope(client="other"), "maria", "campaign", None))
    await site.outbox.change(replicas.note, Sign("host-a", "1.2.3"))
    site.clock.now += 61
    _, text = await site.get("/")
    found = rows(text)
    assert found["box"][0].startswith("resting for ")
    assert "the relay is <away>" in found["box"][0]
    assert found["box"][1:3] == ["1", "none yet"]
    assert found["players"] == ["answers", "does not say", "does not say", "none"]
    assert found["b.example:443"] == ["other", "0", "0", "rests for 9 s failing for 12 min: HTTP 500"]
    assert found["email"] == ["email", "other", "1", "0", "paused", ""]
    words = " ".join(re.sub(r"<[^>]*>", " ", text).split())
    assert "client other, until it is resumed, by maria: campaign" in words
    assert "clients.other.email_per_day : 1 of 1 used (100 %), until 00:00Z" in words
    assert "host-a gone seen 61 s ago, version 1.2.3" in words
    assert f"version {__version__}, up for" in words
    assert "its growth is known after a day" in words


async def test_a_problem_has_a_link_to_the_page_that_shows_more(site):
    await site.send(client="other")

    def give_up(tx, items):
        tx.connection.execute(update(statuses).values(callback_state="dead", due_at=None))
        return items

    await site.outbox.change(give_up, None)
    (problem,) = re.findall(r"<li><b>Callbacks that were given up.*?</li>", (await site.get("/"))[1])
    assert '<a href="/callbacks">Callbacks</a>' in problem


async def test_the_overview_lists_the_hosts_that_need_a_hand_first(site):
    for number in range(7):
        await site.send(callback_url=f"https://h{number}.example/")
    await site.send(callback_url="https://h6.example/")

    def give_up(tx, items):
        tx.connection.execute(
            update(statuses)
            .where(statuses.c.target == "h5.example:443")
            .values(callback_state="dead", due_at=None)
        )
        return items

    await site.outbox.change(give_up, None)
    _, text = await site.get("/")
    found = [(name, *row[1:3]) for name, row in rows(text).items() if name.endswith(":443")]
    assert found[:3] == [
        ("h5.example:443", "0", "1"),
        ("h6.example:443", "2", "0"),
        ("h0.example:443", "1", "0"),
    ]
    assert len(found) == 5
    assert '<a href="/callbacks">2 more</a>' in text


async def test_the_overview_is_read_again_after_some_seconds(site):
    assert figures((await site.get("/"))[1])["Messages waiting"] == "0"
    await site.wait()
    assert figures((await site.get("/"))[1])["Messages waiting"] == "0"
    site.clock.now += 3
    assert figures((await site.get("/"))[1])["Messages waiting"] == "1"


async def test_a_user_of_one_client_sees_only_its_messages(site):
    await site.send(DELIVERED, client="brand")
    await site.send(DELIVERED, client="other", route="vip", instance="others-box", country="FR")
    await site.wait(client="other", route="vip")
    for path in ("/", "/stats?by=client,route,plugin,country", "/stats.csv?by=client,route,plugin,country"):
        for user, is_seen in (("maria", True), ("vera", False)):
            status, text = await site.get(path, user)
            assert status == 200
            assert ("others-box" in text) is is_seen, (path, user)
            assert ("vip" in text) is is_seen, (path, user)
            assert "box" in text
    _, text = await site.get("/", "vera")
    assert figures(text) | {"Oldest due for": ""} == {
        "Messages waiting": "0",
        "Oldest due for": "",
        "Sent in the last hour": "1",
        "Callbacks waiting": "1",
        "Callbacks given up": "0",
    }
    assert drawn(text)[2]["messages"][-1] == 1


async def test_of_the_problems_of_others_a_user_learns_only_that_there_are_some(site):
    await site.send(client="other")

    def give_up(tx, items):
        tx.connection.execute(update(statuses).values(callback_state="dead", due_at=None))
        return items

    await site.outbox.change(give_up, None)
    assert "given up: 1" in (await site.get("/", "maria"))[1]
    _, text = await site.get("/", "vera")
    assert "given up: 1" not in text
    assert "Something else needs an operator who sees all clients" in text


async def test_another_client_is_as_unknown_as_one_that_does_not_exist(site):
    await site.send(client="other")
    answers = [
        await site.get(f"/stats{kind}?client={name}", "vera")
        for kind in ("", ".csv")
        for name in ("other", "nobody")
    ]
    assert {status for status, _ in answers} == {400}
    assert all("there are: brand<" in text for _, text in answers)
    assert answers[0][1] == answers[1][1].replace("nobody", "other")


async def test_the_statistics_have_the_numbers_of_the_command(site):
    await site.send(DELIVERED, price="0.5", **SMS)
    await site.send(FAILED, price="0.25", **SMS)
    await site.send(DELIVERED, client="other")
    _, text = await site.get("/stats?by=client,channel")
    found = rows(text)
    assert found["client"][:5] == ["channel", "messages", "accepted", "delivered", "delivered %"]
    assert found["brand"][:5] == ["sms", "2", "2", "1", "50.0"]
    assert found["brand"][-1] == "0.75"
    assert found["other"][:4] == ["email", "1", "1", "1"]
    by = [Dimension.CLIENT, Dimension.CHANNEL]
    groups = await site.reader.read(
        lambda connection: read_groups(connection, StatisticsFilter(), by, int(NOON * 1000))
    )
    answer = await site.http.get("/stats.csv?by=client,channel", headers={"x-user": "maria"})
    assert answer.content.decode() == as_csv(build(groups, by))
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].startswith("attachment")


async def test_what_is_asked_for_is_counted(site):
    for days in (10, 2):
        site.clock.now = NOON - days * 86_400
        await site.send()
    site.clock.now = NOON
    await site.roll_up()
    await site.send()
    await site.send(DELIVERED, **SMS)
    old, recent, today = "2027-01-05", "2027-01-13", "2027-01-15"
    for query, counted in {
        "": {(recent, "1"), (today, "2")},
        "period=24h": {(today, "2")},
        "period=30d&by=channel": {("email", "3"), ("sms", "1")},
        "period=custom&since=2027-01-01T00:00&until=2027-01-14T00:00": {(old, "1"), (recent, "1")},
        "since=2027-01-15T11:59Z": {(today, "2")},
        "channel=sms": {(today, "1")},
        "country=de&by=country": {("DE", "1")},
        "plugin=box&by=channel": {("email", "2"), ("sms", "1")},
        "by=plugin,channel&channel=sms": {("box", "sms")},
        "by=status&channel=sms": {("accepted", "1"), ("delivered", "1")},
    }.items():
        status, text = await site.get(f"/stats?{query}")
        assert status == 200, query
        header, *lines = [(name, *row[:1]) for name, row in rows(text).items()]
        assert set(lines) == counted, query
        assert header[0] in {"day", "channel", "country", "plugin", "status"}


async def test_the_chart_has_hours_for_a_short_and_days_for_a_long_period(site):
    site.clock.now -= 3 * 86_400
    await site.send()
    site.clock.now = NOON
    await site.send(DELIVERED)
    step, times, lines = drawn((await site.get("/stats?period=24h&by=client"))[1])
    assert (step, len(times), sum(lines["messages"]), lines["delivered"][-1]) == ("hour", 25, 1, 1)
    step, times, lines = drawn((await site.get("/stats?by=client"))[1])
    assert (step, len(times), lines["messages"][-4:]) == ("day", 8, [1, 0, 0, 1])
    # With several groups for each time, all of them together.
    await site.send(**SMS)
    step, _, lines = drawn((await site.get("/stats?by=channel,hour&period=24h"))[1])
    assert (step, lines["accepted"][-1]) == ("hour", 2)
    assert "messages" not in drawn((await site.get("/stats?by=plugin"))[1])[2]


async def test_wrong_parameters_are_named_and_nothing_is_counted(site):
    await site.send()
    for path in ("/stats", "/stats.csv"):
        status, text = await site.get(f"{path}?period=1y&by=day,week&route=%00&client=<b>bold</b>")
        assert status == 400
        for name in ("period", "by", "route", "client"):
            assert f'<li id="problem-{name}">{name}: there is no ' in text
        assert "<b>bold" not in text
        assert "<table>" not in text


async def test_hostile_names_are_text_on_the_pages_and_no_formula_in_the_csv(site):
    await site.send(client=HOSTILE, route=HOSTILE, instance=HOSTILE, channel=Channel.SMS, country=HOSTILE)
    await site.wait(client=HOSTILE, route=HOSTILE)
    for path in ("/", "/stats?by=client,route,plugin,country"):
        _, text = await site.get(path)
        assert HOSTILE in rows(text)
        assert "<img" not in text
    answer = await site.http.get("/stats.csv?by=client,route,plugin,country", headers={"x-user": "maria"})
    (row,) = csv.DictReader(io.StringIO(answer.text, newline=""))
    assert {row[name] for name in ("client", "route", "plugin", "country")} == {f"'{HOSTILE}"}


async def test_a_page_shows_what_it_has_counted_in_its_time(site, monkeypatch):
    await site.send(DELIVERED, client="other")
    site.clock.now += 7 * 86_400
    await site.send(DELIVERED)
    for by in ("day", "client"):
        assert "Counting took too long" not in (await site.get(f"/stats?period=30d&by={by}"))[1]
    monkeypatch.setattr("gatepost.console.stats_page.PAGE_SECONDS", 0.0)
    for by in ("day", "client"):
        status, text = await site.get(f"/stats?period=30d&by={by}")
        assert (status, len(rows(text))) == (200, 2)
        assert "only messages accepted since 2027-01-" in text
        assert "Choose a shorter period" in text


async def test_a_csv_that_would_not_be_complete_is_refused(site, monkeypatch):
    await site.send(DELIVERED)
    site.clock.now += 7 * 86_400
    await site.send(DELIVERED)
    monkeypatch.setattr("gatepost.console.stats_page.CSV_SECONDS", 0.0)
    status, text = await site.get("/stats.csv?period=30d")
    assert status == 400
    assert "to count this would take more than" in text


async def test_the_page_says_what_it_leaves_out(site, monkeypatch):
    monkeypatch.setattr("gatepost.console.stats_page.MAX_ROWS", 1)
    await site.send()
    await site.send(client="other")
    _, text = await site.get("/stats?by=client,hour,plugin&period=30d")
    assert "Hours are kept for 8 days" in text
    assert "The table shows 1 of 2 rows" in text
    assert "not counted by plugin" in text
    assert rows(text).keys() == {"client", "brand"}


async def test_the_link_to_the_csv_has_the_same_choices(site):
    await site.send(**SMS)
    _, text = await site.get("/stats?by=day&by=country&period=24h&channel=sms")
    (link,) = re.findall(r'href="(/stats\.csv[^"]*)"', text)
    status, text = await site.get(html.unescape(link))
    assert (status, text.splitlines()[1][:14]) == (200, "2027-01-15,DE,")
