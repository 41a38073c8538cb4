"""Each problem that an operator is told of, and what is none."""

import time
from functools import partial
from pathlib import Path

import msgspec
import pytest

from gatepost.config.client import Client
from gatepost.config.routes import Route, Routes
from gatepost.config.settings import (
    Alerts,
    Console,
    Contacts,
    Delivery,
    InstanceSettings,
    Logs,
    Server,
    Settings,
    Store,
    Warmup,
)
from gatepost.model import Channel, Secret
from gatepost.outbox.limits import UsedLimit
from gatepost.outbox.overview import CallbackOverview, Overview, WaitingMessages
from gatepost.outbox.pauses import Pause, Scope
from gatepost.outbox.store_size import StoreSize
from gatepost.outbox.warmups import WarmupView
from gatepost.upkeep.freshness import Freshness
from gatepost.upkeep.problems import Known, find_problems
from gatepost.upkeep.status import GatewayStatus, InstanceStatus, SourceStatus, TargetStatus

NOW = time.time()
DAY = 86_400.0
PLUGIN = InstanceStatus(
    instance="acme",
    state="usable",
    seconds=0.0,
    failing_for=0.0,
    misconfigured=False,
    reason="",
    since_success=1.0,
    per_minute=60.0,
    shares={},
)
RESTING = msgspec.structs.replace(
    PLUGIN, state="resting", seconds=60.0, failing_for=601.0, reason="the provider answered 503"
)
SOURCE = SourceStatus(
    instance="players",
    users=3,
    as_of=NOW,
    freshness=Freshness.FRESH,
    problem="",
    is_failing=False,
    failed_at=None,
    failure="",
)
TARGET = TargetStatus(
    client="brand", target="crm.example:443", seconds=10.0, failing_for=601.0, reason="HTTP 500"
)
GATEWAY = GatewayStatus(
    version="0.1.0",
    uptime=100.0,
    lag=0.01,
    store_fails=False,
    missing_keys={},
    certificate_ends_at=None,
    plugins=[PLUGIN, msgspec.structs.replace(PLUGIN, instance="other")],
    sources=[SOURCE],
    resting_targets=[],
)
WAITING = WaitingMessages(
    channel="sms", route="uk", client="brand", messages=3, held=0, overdue=301.0, paused=False
)
STORE = Overview(
    read_at=NOW,
    waiting=[],
    callbacks=CallbackOverview(waiting=0, age=0.0, dead=0, targets=[]),
    shares=[],
    pauses=[],
    limits=[],
    size=StoreSize(total=1),
    replicas=[],
    warmups=[],
)
ROUTES = Routes(sms=(Route(name="uk", use=("acme", "other")), Route(name="rest", use=("other",))))


def settings(**contacts):
    return Settings(
        path=Path("gatepost.toml"),
        server=Server(),
        store=Store(),
        clients={"brand": Client(authorization=(Secret("x"),), callback_api_key=Secret("y"))},
        contacts=Contacts(**contacts),
        delivery=Delivery(),
        routes=ROUTES,
        logs=Logs(),
        console=Console(),
        alerts=Alerts(),
        plugins={},
    )


def problems(gateway=None, store=None, contacts=None):
    """Return the problems of a gateway and a store that differ from fine ones in these fields."""
    known = Known(
        settings(**(contacts or {})),
        msgspec.structs.replace(GATEWAY, **(gateway or {})),
        msgspec.structs.replace(STORE, **(store or {})),
    )
    return [(one.kind, one.text) for one in find_problems(known)]


def test_nothing_is_a_problem_where_all_is_fine():
    assert problems() == []


def test_a_store_that_refuses_writes():
    ((kind, text),) = problems({"store_fails": True})
    assert (kind, "refuses writes" in text) == ("store", True)


def test_messages_whose_content_needs_a_key_that_is_missing():
    ((kind, text),) = problems({"missing_keys": {"0badc0de": 3}})
    assert kind == "content_key_missing"
    assert text.endswith("can't be read: 3; store.content_keys does not have the key 0badc0de")


def test_a_misconfigured_plugin():
    plugin = msgspec.structs.replace(PLUGIN, misconfigured=True, reason="the key is refused")
    assert problems({"plugins": [plugin]}) == [
        ("misconfigured", "plugins.acme is misconfigured: the key is refused")
    ]


def test_a_plugin_that_has_failed_for_long_although_another_one_sends():
    plugins = [RESTING, GATEWAY.plugins[1]]
    assert problems({"plugins": plugins}) == [
        ("resting", "plugins.acme has failed for 10 min: the provider answered 503")
    ]


@pytest.mark.parametrize(
    "fields", [{"failing_for": 599.0}, {"state": "probing", "seconds": 0.0}], ids=["not long", "tried now"]
)
def test_a_short_rest_is_none_and_neither_is_one_that_is_over(fields):
    assert problems({"plugins": [msgspec.structs.replace(RESTING, **fields), GATEWAY.plugins[1]]}) == []


def test_a_route_whose_plugins_all_rest():
    short = msgspec.structs.replace(RESTING, failing_for=5.0)
    plugins = [short, msgspec.structs.replace(short, instance="other")]
    assert problems({"plugins": plugins}) == [
        ("route_blocked", "routes.sms[1 uk]: none of its plugins can send now"),
        ("route_blocked", "routes.sms[2 rest]: none of its plugins can send now"),
    ]
    # What waits for such a route needs no words of its own.
    assert len(problems({"plugins": plugins}, {"waiting": [WAITING]})) == 2


def test_an_old_queue():
    assert problems(store={"waiting": [WAITING]}) == [
        ("queue_old", "messages wait: sms, route uk, client brand, the oldest due for 5 min")
    ]
    assert problems(store={"waiting": [msgspec.structs.replace(WAITING, overdue=299.0)]}) == []


def pause(**scope):
    return Pause(scope=Scope(**scope), reason="", actor="maria", created_at=NOW, ends_at=None)


def test_a_queue_that_is_paused_may_be_old():
    paused = msgspec.structs.replace(WAITING, paused=True)
    assert problems(store={"waiting": [paused]}) == []
    both = [pause(plugin="acme"), pause(plugin="other")]
    assert problems(store={"waiting": [WAITING], "pauses": both}) == []
    one = [pause(plugin="acme"), pause(client="another", channel=Channel.SMS)]
    assert len(problems(store={"waiting": [WAITING], "pauses": one})) == 1


def test_a_pause_of_plugins_for_another_client_does_not_excuse_an_old_queue():
    others = [pause(plugin="acme", client="another"), pause(plugin="other", client="another")]
    assert len(problems(store={"waiting": [WAITING], "pauses": others})) == 1


def test_held_messages():
    held = msgspec.structs.replace(WAITING, overdue=0.0, held=2)
    assert problems(store={"waiting": [held]}) == [("held", "held messages: 2")]


def test_callbacks_that_were_given_up():
    dead = msgspec.structs.replace(STORE.callbacks, dead=4)
    assert problems(store={"callbacks": dead}) == [("callbacks_dead", "callbacks that were given up: 4")]


def test_a_host_that_takes_no_callbacks_for_long():
    assert problems({"resting_targets": [TARGET]}) == [
        (
            "callbacks_rest",
            "callbacks of client brand to crm.example:443 have failed for 10 min: HTTP 500",
        )
    ]
    short = msgspec.structs.replace(TARGET, failing_for=599.0)
    assert problems({"resting_targets": [short]}) == []


def test_callbacks_that_fail_again_and_again_without_a_rest():
    """A host that answers 404, or with an error_code, does not rest; and after a restart nobody knows how long one failed."""
    waiting = msgspec.structs.replace(STORE.callbacks, waiting=2000, age=1801.0)
    assert problems(store={"callbacks": waiting}) == [
        ("callbacks_old", "callbacks wait: 2,000, the oldest for 30 min")
    ]
    recent = msgspec.structs.replace(waiting, age=1800.0)
    assert problems(store={"callbacks": recent}) == []


source = partial(msgspec.structs.replace, SOURCE)


def test_a_contact_source_that_fails_now():
    failed = source(is_failing=True, failed_at=NOW, failure="the CRM answered 503")
    assert problems({"sources": [failed]}) == [
        ("source_fails", "plugins.players, a contact source, fails: the CRM answered 503")
    ]
    past = source(failed_at=NOW, failure="the CRM answered 503")
    assert problems({"sources": [past]}) == []


def test_contacts_of_which_newer_data_are_refused():
    refused = source(problem="the new file is refused: 12 users, fewer than half of the 100 in use")
    assert problems({"sources": [refused]}) == [
        (
            "contacts_refused",
            "plugins.players, a contact source: the new file is refused: 12 users, fewer than half of the 100 in use",
        )
    ]


def test_a_source_without_users():
    ((kind, text),) = problems({"sources": [source(users=0)]})
    assert (kind, "has no users" in text) == ("contacts_refused", True)


AGES = {
    "stale": (4 * DAY, "the data of plugins.players are 4 days old"),
    "lost": (None, "plugins.players no longer says how old its data are"),
    "future": (
        -2 * DAY - 60,
        "the data of plugins.players are of a time 2 days from now, so their age is unknown",
    ),
}


@pytest.mark.parametrize("freshness", AGES)
def test_contacts_that_are_stale_or_of_an_unknown_age(freshness):
    age, text = AGES[freshness]
    as_of = None if age is None else time.time() - age
    one = source(as_of=as_of, freshness=Freshness(freshness))
    assert problems({"sources": [one]}) == [("contacts_stale", text)]


def test_a_source_that_never_said_how_old_its_data_are_is_no_problem():
    unknown = source(users=None, as_of=None, freshness=Freshness.UNKNOWN)
    assert problems({"sources": [unknown]}) == []


def test_a_cap_that_is_reached():
    limit = UsedLimit(setting="clients.brand.sms_per_day", used=1000, cap=1000, daily=True)
    assert problems(store={"limits": [limit]}) == [
        (
            "cap_reached",
            "clients.brand.sms_per_day is reached (1,000): messages are refused until 00:00Z",
        )
    ]
    assert problems(store={"limits": [msgspec.structs.replace(limit, used=999)]}) == []


WARMUP = WarmupView(
    instance="acme", per="day", cap=500, used=500, ends_at=NOW + 60.0, decision="it has begun"
)


@pytest.fixture
def warming(monkeypatch):
    """Let both plugins warm up."""
    warmup = Warmup(first=500)
    both = {name: InstanceSettings(name=name, use="acme", warmup=warmup) for name in ("acme", "other")}
    as_before = settings

    def with_plugins(**contacts):
        return msgspec.structs.replace(as_before(**contacts), plugins=both)

    monkeypatch.setitem(globals(), "settings", with_plugins)


@pytest.mark.usefixtures("warming")
def test_messages_that_wait_for_a_warmup_alone():
    other = msgspec.structs.replace(WARMUP, instance="other", per="hour", cap=20, used=21)
    waiting = [WAITING, msgspec.structs.replace(WAITING, client="second", messages=1_205, held=8)]
    full = {"warmups": [WARMUP, other], "waiting": waiting}
    until = time.strftime("%H:%M UTC", time.gmtime(NOW + 60.0))
    first = "plugins.acme is at its warm-up cap of 500 today"
    assert problems(store=full) == [
        ("warmup_full", f"{first}: 1,200 wait until {until}"),
        ("held", "held messages: 8"),
    ]
    rest = [msgspec.structs.replace(WAITING, route="rest")]
    assert problems(store={"warmups": [other], "waiting": rest}) == [
        ("warmup_full", f"plugins.other is at its warm-up cap of 20 this hour: 3 wait until {until}")
    ]
    # The other plugin of the route rests.
    plugins = [PLUGIN, msgspec.structs.replace(RESTING, instance="other", failing_for=5.0)]
    found = problems({"plugins": plugins}, {"warmups": [WARMUP], "waiting": [WAITING]})
    assert [kind for kind, _ in found] == ["route_blocked", "warmup_full"]


@pytest.mark.usefixtures("warming")
@pytest.mark.parametrize(
    "store",
    [
        {"warmups": [WARMUP], "waiting": []},
        {"warmups": [WARMUP], "waiting": [msgspec.structs.replace(WAITING, overdue=0.0)]},
        {"warmups": [WARMUP], "waiting": [msgspec.structs.replace(WAITING, overdue=5.0)]},
        {"warmups": [WARMUP], "waiting": [msgspec.structs.replace(WAITING, paused=True, route="alone")]},
    ],
    ids=["none waits", "none is due", "another plugin sends", "paused"],
)
def test_a_full_warmup_for_which_nothing_waits_is_none(store):
    assert problems(store=store) == []


@pytest.mark.usefixtures("warming")
def test_a_warmup_whose_period_has_ended_is_not_full():
    over = msgspec.structs.replace(WARMUP, instance="other", ends_at=NOW)
    waiting = [msgspec.structs.replace(WAITING, route="rest", overdue=5.0)]
    assert problems(store={"warmups": [over], "waiting": waiting}) == []


@pytest.mark.usefixtures("warming")
def test_a_warmup_that_is_no_longer_configured_is_none(monkeypatch):
    with_warmups = settings()
    none = {name: InstanceSettings(name=name, use="acme") for name in with_warmups.plugins}
    monkeypatch.setitem(globals(), "settings", lambda: msgspec.structs.replace(with_warmups, plugins=none))
    one = msgspec.structs.replace(WARMUP, instance="other")
    waiting = [msgspec.structs.replace(WAITING, route="rest", overdue=5.0)]
    assert problems(store={"warmups": [one], "waiting": waiting}) == []


def test_a_certificate_that_ends_soon():
    assert problems({"certificate_ends_at": NOW + 15 * DAY}) == []
    assert problems({"certificate_ends_at": NOW + 13 * DAY + 3600}) == [
        ("certificate_ends", "the TLS certificate ends in 13 days")
    ]


def test_a_certificate_that_has_ended():
    ((kind, text),) = problems({"certificate_ends_at": NOW - DAY})
    assert (kind, "ended 24 h ago" in text) == ("certificate_ended", True)


def test_an_event_loop_that_was_late():
    assert problems({"lag": 1.0}) == []
    assert problems({"lag": 2.5}) == [
        ("lag", "the event loop was late by 2.5 s within the last minute"),
    ]


def test_the_most_urgent_comes_first_and_each_has_a_cure():
    everything = Known(
        settings(),
        msgspec.structs.replace(
            GATEWAY, lag=2.0, store_fails=True, sources=[source(users=0)], resting_targets=[TARGET]
        ),
        msgspec.structs.replace(STORE, waiting=[WAITING]),
    )
    found = find_problems(everything)
    assert [one.kind for one in found] == ["store", "queue_old", "contacts_refused", "callbacks_rest", "lag"]
    assert all(one.cure for one in found)


def test_what_is_not_known_is_no_problem():
    assert find_problems(Known(settings(), None, None)) == []
