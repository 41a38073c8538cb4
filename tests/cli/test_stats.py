"""``gatepost stats`` on a store: what it counts, what its options choose, and what it refuses."""

import asyncio
import json
import time

import pytest
from click.testing import CliRunner

from claiming import claim_due
from gatepost.cli import main
from gatepost.model import Channel, Secret, Status, StatusEvent
from gatepost.outbox import Policy, ReportedEvents, SendResult, Try, open_outbox, statistics
from gatepost.outbox.states import State

DAY = 86_400


@pytest.fixture
def stats(tmp_path):
    """Return a function that runs the command and returns its result."""
    path = tmp_path / "gatepost.toml"
    path.write_text('[store]\nurl = "sqlite:///outbox.db"\n')

    def run(*options, code=0):
        result = CliRunner().invoke(main, ["stats", *options, "--config", str(path)])
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def rows(stats):
    """Return a function that runs the command with --json and returns the chosen columns of its rows."""

    def run(by, *options, columns):
        found = json.loads(stats("--by", by, *options, "--json").stdout)["rows"]
        return [tuple(row[name] for name in columns) for row in found]

    return run


async def send(outbox, message, instance, **cost):
    await outbox.put(message)
    (claim,) = await claim_due(outbox, message.channel, 1, 30.0)
    one = Try(instance=instance, outcome="sent", **cost)
    await outbox.finish(
        SendResult(id=claim.id, attempt=claim.attempt, state=State.SENT, instance=instance, tries=[one])
    )
    event = StatusEvent(status=Status.DELIVERED, message_id=claim.id)
    await outbox.record(ReportedEvents(instance=instance, events=[event]))


@pytest.fixture
def history(tmp_path, new):
    """Store what was sent a month ago, of which no message is left, and what was sent an hour ago; return when that was."""
    return asyncio.run(_send_all(tmp_path, new))


async def _send_all(folder, new):
    shift = -30 * DAY
    now = time.time()

    def clock():
        return now + shift

    sms = {"channel": Channel.SMS, "route": "promo"}
    policy = Policy(retention=10 * DAY)
    async with open_outbox(Secret("sqlite:///outbox.db"), folder, policy, clock=clock) as outbox:
        await send(outbox, new("old-1", **sms, country="DE"), "eu", parts=2, price="0.0136", currency="EUR")
        await send(outbox, new("old-2", **sms, country="GB"), "us", counted_parts=3)
        shift = -3_600
        while await outbox.prune():
            pass
        while await outbox.change(statistics.roll_up, None):
            pass
        await send(outbox, new("new", route="news", client="other"), "mail")
        await outbox.put(new("waits", route="news", client="other"))
    return now


def day_of(moment):
    return time.strftime("%Y-%m-%d", time.gmtime(moment))


def test_a_month_whose_messages_are_forgotten_is_counted(history, rows):
    columns = ["day", "plugin", "country", "status", "number"]
    found = rows("day,plugin,country,status", "--since", "40d", "--until", "9d", columns=columns)
    day = day_of(history - 30 * DAY)
    assert found == [
        (day, "eu", "DE", "accepted", 1),
        (day, "eu", "DE", "delivered", 1),
        (day, "us", "GB", "accepted", 1),
        (day, "us", "GB", "delivered", 1),
    ]


def test_messages_parts_and_prices_are_columns(history, rows):
    columns = ["channel", "messages", "accepted", "delivered", "parts", "counted_parts", "price_EUR"]
    assert rows("channel", "--since", "40d", columns=columns) == [
        ("email", 2, 1, 1, 0, 0, None),
        ("sms", 2, 2, 2, 2, 3, "0.0136"),
    ]


def test_by_plugin_the_messages_from_smartico_are_not_told(history, rows, stats):
    assert rows("plugin", "--since", "40d", columns=["plugin", "messages", "accepted"]) == [
        ("eu", None, 1),
        ("mail", None, 1),
        ("us", None, 1),
    ]
    text = stats("--by", "plugin", "--since", "40d").output
    assert "messages  accepted" not in text
    assert "no plugin has it yet" in text


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--client", "other"], ["other"]),
        (["--channel", "sms"], ["brand"]),
        (["--route", "news"], ["other"]),
        (["--plugin", "us"], ["brand"]),
        (["--country", "gb"], ["brand"]),
        (["--country", "FR"], []),
    ],
)
def test_each_filter_leaves_what_it_names(history, rows, options, expected):
    found = rows("client", "--since", "40d", *options, columns=["client"])
    assert [client for (client,) in found] == expected


def test_the_last_week_is_shown_by_day_without_any_option(history, stats):
    lines = stats().output.splitlines()
    assert lines[0].startswith("Messages accepted from Smartico since ")
    assert [line.split()[0] for line in lines[3:]] == [day_of(history - 3_600)]


def test_hours_of_old_days_are_left_out_with_a_word(history, stats):
    result = stats("--by", "hour", "--since", "40d", "--json")
    hour = time.strftime("%Y-%m-%dT%H:00Z", time.gmtime(history - 3_600))
    assert [row["hour"] for row in json.loads(result.stdout)["rows"]] == [hour]
    assert "hours are kept for 8 days" in result.stderr
    assert stats("--by", "hour", "--since", "2h").stderr == ""


def test_a_period_is_one_of_whole_hours(history, stats):
    document = json.loads(stats("--since", "61m", "--until", "59m", "--json").stdout)
    assert document["since"].endswith(":00:00Z")
    assert document["until"].endswith(":00:00Z")
    assert [row["messages"] for row in document["rows"]] == [2]


def test_csv_begins_with_the_names_of_its_columns(history, stats):
    output = stats("--by", "client,channel", "--csv").stdout
    assert output.startswith("client,channel,messages,accepted,delivered,delivered_percent,")


def test_what_was_never_counted_is_said(history, stats):
    assert "nothing was counted" in stats("--country", "FR").output


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--by", "colour"], "none of day, hour"),
        (["--by", ""], "none of day, hour"),
        (["--since", "1h", "--until", "2h"], "--since must be before --until"),
        (["--client", ""], "leave the option out"),
        (["--csv", "--json"], "either --csv or --json"),
    ],
)
def test_wrong_options_are_refused(stats, options, problem):
    assert problem in " ".join(stats(*options, code=2).output.replace("│", " ").split())


def test_a_client_that_does_not_exist_is_refused(history, stats):
    assert "is it other?" in stats("--client", "othr", code=1).output
