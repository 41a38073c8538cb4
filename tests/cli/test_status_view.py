"""The status as an operator reads it, on a terminal with 80 columns."""

import io
import time

import msgspec
import pytest
from rich.console import Console

from gatepost.cli.status_view import MAX_LINES, Status, status_view
from gatepost.outbox.overview import CallbackOverview, Overview, TargetCallbacks, WaitingMessages
from gatepost.outbox.pauses import Pause, Scope
from gatepost.outbox.replicas import Replica
from gatepost.outbox.store_size import StoreSize
from gatepost.outbox.warmups import WarmupView
from gatepost.upkeep.freshness import Freshness
from gatepost.upkeep.problems import Kind, problem
from gatepost.upkeep.status import GatewayStatus, InstanceStatus, SourceStatus, TargetStatus

NOW = time.time()
STORE = Overview(
    read_at=NOW,
    waiting=[],
    callbacks=CallbackOverview(waiting=0, age=0.0, dead=0, targets=[]),
    shares=[],
    pauses=[],
    limits=[],
    size=StoreSize(total=1_234_567_890, tables={"messages": 1_000_000_000}, per_day=2_500_000.0),
    replicas=[],
    warmups=[],
)
PLUGIN = InstanceStatus(
    instance="acme",
    state="usable",
    seconds=0.0,
    failing_for=0.0,
    misconfigured=False,
    reason="",
    since_success=3.0,
    per_minute=59.6,
    shares={"uk": 0.75},
)
GATEWAY = GatewayStatus(
    version="0.1.0",
    uptime=7300.0,
    lag=0.0,
    store_fails=False,
    missing_keys={},
    certificate_ends_at=None,
    plugins=[PLUGIN],
    sources=[],
    resting_targets=[],
)


def shown(*, problems=(), gateway=None, elsewhere=False, **store):
    """Return the lines of the view; ``elsewhere``: of gateways on other machines alone."""
    status = Status(
        gateway="no gateway runs on this machine" if elsewhere else "running",
        problems=list(problems),
        process=None if elsewhere else msgspec.structs.replace(GATEWAY, **(gateway or {})),
        store=msgspec.structs.replace(STORE, **store),
    )
    out = io.StringIO()
    Console(file=out, width=80, highlight=False).print(status_view(status))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_everything_has_its_line():
    assert shown() == [
        "Everything is fine.",
        "gateway    running for 2 h, version 0.1.0",
        "messages   none waits",
        "plugins    acme: usable, 60 a minute, 75 % of route uk, last success 3 s ago",
        "callbacks  none waits",
        "store      1.23 GB (messages 1 GB), grows by 2.5 MB a day",
    ]


def test_problems_come_first_each_with_its_cure():
    lines = shown(problems=[problem(Kind.HELD, "", "held messages: 2", "gatepost messages list held")])
    assert lines[:3] == ["Look at this now:", " - held messages: 2", "   gatepost messages list held"]


def replica(host, age, started=3600.0):
    return Replica(host=host, version="0.1.0", started_at=NOW - started, seen_at=NOW - age, age=age)


def test_replicas_are_shown_where_there_are_several_or_one_is_gone():
    assert not any(line.startswith("replicas") for line in shown(replicas=[replica("web-1", 3.0)]))
    lines = shown(replicas=[replica("web-1", 3.0), replica("web-2", 600.0)])
    assert lines[2:4] == [
        "replicas   web-1: up for 60 min, version 0.1.0, seen 3 s ago",
        "           web-2: gone, seen 10 min ago; version 0.1.0",
    ]


def test_hosts_of_callbacks_show_what_waits_and_why_they_rest():
    target = TargetCallbacks(client="brand", target="crm.example:443", waiting=1200, dead=3)
    rest = TargetStatus(
        client="brand", target="crm.example:443", seconds=40.0, failing_for=50.0, reason="HTTP 500"
    )
    callbacks = CallbackOverview(waiting=1200, age=400.0, dead=3, targets=[target])
    lines = shown(callbacks=callbacks, gateway={"resting_targets": [rest]})
    at = lines.index("callbacks  1,200 wait, the oldest for 7 min")
    assert lines[at + 1 : at + 3] == [
        "           crm.example:443, client brand: 1,200 wait, 3 given up, rests for 40",
        "           s: HTTP 500",
    ]


SOURCE = SourceStatus(
    instance="players",
    users=1_000_000,
    as_of=NOW - 7200,
    freshness=Freshness.FRESH,
    problem="",
    is_failing=False,
    failed_at=None,
    failure="",
)


def source_text(**changes):
    """Return how a source is shown, in one line."""
    shown_lines = shown(gateway={"sources": [msgspec.structs.replace(SOURCE, **changes)]})
    return " ".join(" ".join(shown_lines).split())


def test_a_source_shows_its_users_and_its_last_failure():
    text = source_text(failed_at=NOW, failure="the CRM answered 503")
    assert "players: 1,000,000 users; data 2 h old; last failed (2" in text
    assert "): the CRM answered 503" in text


AGES = {
    "stale": (7200, "players: data 2 h old, which is stale"),
    "unknown": (None, "players: does not say how old its data are"),
    "lost": (None, "players: no longer says how old its data are"),
    "future": (-7260, "players: data of a time 2 h from now"),
}


@pytest.mark.parametrize("freshness", AGES)
def test_a_source_shows_how_old_its_data_are_or_that_it_does_not_say_it(freshness):
    age, text = AGES[freshness]
    as_of = None if age is None else time.time() - age
    assert text in source_text(users=None, as_of=as_of, freshness=Freshness(freshness))


def test_a_paused_plugin_and_paused_messages_are_marked():
    pause = Pause(scope=Scope(plugin="acme"), reason="", actor="maria", created_at=NOW, ends_at=None)
    waiting = WaitingMessages(
        channel="sms", route="uk", client="brand", messages=1, held=0, overdue=0.0, paused=True
    )
    lines = shown(pauses=[pause], waiting=[waiting])
    assert "messages   sms, route uk, client brand: 1 message, paused" in lines
    assert any("acme: usable, paused, 60 a minute" in line for line in lines)


def test_a_part_with_too_many_lines_is_cut():
    targets = [
        TargetCallbacks(client="brand", target=f"host{n}.example:443", waiting=1, dead=0) for n in range(50)
    ]
    lines = shown(callbacks=CallbackOverview(waiting=50, age=1.0, dead=0, targets=targets))
    assert f"           and {51 - MAX_LINES} more, which --json shows" in lines
    assert len(lines) < 40


@pytest.mark.parametrize("text", ["\x1b[2Jgone", "[bold]not bold[/bold]", "\u202egnp"])
def test_what_comes_from_outside_controls_no_terminal(text):
    lines = "\n".join(shown(gateway={"plugins": [msgspec.structs.replace(PLUGIN, reason=text)]}))
    assert "\x1b" not in lines
    assert "\u202e" not in lines
    assert "[bold]" in lines or "[bold]" not in text


def test_no_verdict_is_given_about_gateways_that_were_not_asked():
    """Their plugins may all rest, which only they know."""
    assert "Everything is fine" not in "\n".join(shown(elsewhere=True))
    assert shown(elsewhere=True)[0].startswith("The store is fine.")
    assert shown()[0] == "Everything is fine."


def test_a_warmup_says_how_far_it_is_and_why():
    one = WarmupView(
        instance="acme",
        per="day",
        cap=1_125,
        used=1_004,
        ends_at=1_800_057_600.0,
        decision="it stayed, because of 1,100 sends 3 complained",
    )
    text = " ".join(" ".join(shown(warmups=[one])).split())
    assert (
        "warm-ups acme: 1,004 of 1,125 used in this day, until 2027-01-16 00:00:00Z; it stayed, because"
        in text
    )
