"""What a Context gives to an instance, in a gateway that runs and outside of one."""

import importlib
import math
import sys
import time
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from gatepost.app import load, open_gateway
from gatepost.cli import check
from gatepost.cli.config_checks import check_config
from gatepost.errors import StoreBroken, Unavailable
from gatepost.hookspecs import ContactsState
from gatepost.plugin_host import sanitize, services, stored_state

MODULE = """\
import msgspec
from gatepost.errors import Unavailable
from gatepost.hookspecs import hookimpl

CONTEXTS = {}
WARNINGS = []

class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: str = ""

class Poller:
    api_version = 2
    settings_type = Settings

    def __init__(self, settings, context):
        CONTEXTS[context.name] = context
        for key, problem in WARNINGS:
            context.warn(key, problem)

    @hookimpl
    async def send_email(self, message):
        raise Unavailable("never")
"""

CONFIG = """\
[server]
port = 0
[clients.brand]
authorization = ["the-secret"]
[contacts]
timeout = 0.75
[routes]
email = ["one", "two"]
[plugins.one]
use = "acme-poller"
[plugins.two]
use = "acme-poller"
"""

OFF = "the gateway is not running"


@pytest.fixture
def poller(tmp_path, monkeypatch):
    """Return the module of an installed plugin."""
    monkeypatch.syspath_prepend(tmp_path)
    info = tmp_path / "acme_poller-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-poller\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[gatepost]\nacme-poller = acme_poller:Poller\n")
    (tmp_path / "acme_poller.py").write_text(MODULE)
    yield importlib.import_module("acme_poller")
    sys.modules.pop("acme_poller", None)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "gatepost.toml"
    path.write_text(CONFIG)
    path.chmod(0o600)
    return path


@asynccontextmanager
async def running(config, poller):
    """Run a gateway; yields the contexts of its instances, and the gateway."""
    async with open_gateway(*load(config)) as gateway:
        yield poller.CONTEXTS["one"], poller.CONTEXTS["two"], gateway


async def test_values_survive_a_restart_and_belong_to_one_instance(config, poller):
    async with running(config, poller) as (one, two, _):
        assert await one.state.read("cursor") == ""
        assert await one.state.replace("cursor", "", "1732676689")
        assert not await one.state.replace("cursor", "", "1732676690")
        assert await two.state.read("cursor") == ""

    async with running(config, poller) as (one, two, _):
        assert await one.state.read("cursor") == "1732676689"
        assert await one.state.replace("cursor", "1732676689", "")
        assert await one.state.read("cursor") == ""


async def test_a_lease_is_renewed_and_belongs_to_one_instance(config, poller):
    async with running(config, poller) as (one, two, gateway):
        assert await one.lease("poll", 30)
        assert await one.lease("poll", 30)
        assert await two.lease("poll", 30)
        # As another replica would find it.
        gateway.outbox.holder = "another"
        assert not await one.lease("poll", 30)
        assert await one.lease("bind", 30)


async def test_a_lease_that_ended_before_the_answer_is_not_held(config, poller, monkeypatch):
    """The store, or this process, may stall: another replica may have the lease by then."""
    async with running(config, poller) as (one, _, gateway):
        ahead = 0.0
        clock = time.monotonic
        coordinate = gateway.outbox.coordinate

        async def stall(work, item):
            nonlocal ahead
            held = await coordinate(work, item)
            ahead += 30.0
            return held

        monkeypatch.setattr(stored_state, "time", SimpleNamespace(monotonic=lambda: clock() + ahead))
        monkeypatch.setattr(gateway.outbox, "coordinate", stall)
        assert not await one.lease("poll", 30)
        assert await one.lease("poll", 60)


async def test_without_a_running_gateway_nothing_is_kept(config, poller):
    async def expect_off(context):
        for call in (
            context.state.read("cursor"),
            context.state.replace("cursor", "", "x"),
            context.lease("poll", 30),
        ):
            with pytest.raises(Unavailable, match=OFF) as raised:
                await call
            assert raised.value.__context__ is None

    load(config)
    await expect_off(poller.CONTEXTS["one"])
    async with running(config, poller) as (one, _, _):
        await one.state.replace("cursor", "", "x")
    await expect_off(one)
    # A check builds and opens the plugins, and is no running gateway.
    await check_config(config, live=False)
    await expect_off(poller.CONTEXTS["one"])


async def test_a_store_that_fails_makes_every_call_unavailable(config, poller):
    async with running(config, poller) as (one, _, gateway):
        for lane in gateway.outbox._lanes:
            lane.fail(StoreBroken("the disk is gone"))
        for call in (
            one.state.read("cursor"),
            one.state.replace("cursor", "", "x"),
            one.lease("poll", 30),
        ):
            with pytest.raises(Unavailable, match="the store can't be reached") as raised:
                await call
            assert raised.value.__context__ is None


BAD_NAMES = ["", "x" * 65, "line\nbreak", "nul\0", "\ud800", None, b"cursor"]

BAD_VALUES = [
    "anna@players.example",
    '{"last": "Anna <anna@players.example>"}',
    "to=anna%40players.example",
    "+447700900123",
    '{"last":"+44 7700 900123"}',
    "%2B447700900123",
    "+44 (0)7700-900123",
    "nul\0",
    "\ud800",
    "x" * 4_097,
    None,
    7,
    b"cursor",
]

GOOD_VALUES = [
    "1732676689",
    "1732676689000",
    "447700900123",
    "2026-11-27T03:04:49.123456+01:00",
    "2026-11-27 03:04:49 +0100",
    "eyJhIjoiYiJ9+12345678/abc==",
    "0000000447700900",
    '{"page": 17, "since": 1732676689}',
    "a\nb\té\u2028",
    "x" * 4_096,
]


async def test_a_bad_name_is_refused(config, poller):
    async with running(config, poller) as (one, _, _):
        for name in BAD_NAMES:
            with pytest.raises(ValueError, match="a key is"):
                await one.state.read(name)
            with pytest.raises(ValueError, match="a key is"):
                await one.state.replace(name, "", "x")
            with pytest.raises(ValueError, match="a name is"):
                await one.lease(name, 30)
        with pytest.raises(ValueError, match="an address"):
            await one.state.replace("anna@players.example", "", "x")
        with pytest.raises(ValueError, match="an address"):
            await one.lease("sending to +447700900123", 30)


async def test_a_value_that_must_not_be_kept_is_refused(config, poller):
    async with running(config, poller) as (one, _, _):
        for value in BAD_VALUES:
            with pytest.raises(ValueError, match=r"an address|is a text"):
                await one.state.replace("cursor", "", value)
            assert await one.state.read("cursor") == ""


async def test_a_value_that_a_poll_needs_is_kept(config, poller):
    async with running(config, poller) as (one, _, _):
        for value in GOOD_VALUES:
            key = "x" * 64
            assert await one.state.replace(key, await one.state.read(key), value)
            assert await one.state.read(key) == value


async def test_values_that_are_too_large_together_are_refused(config, poller):
    async with running(config, poller) as (one, two, _):
        assert await one.state.replace("a", "", "x" * 4_000)
        with pytest.raises(ValueError, match="more than 4,096 characters in all"):
            await one.state.replace("b", "", "x" * 97)
        assert await one.state.replace("b", "", "x" * 96)
        assert await two.state.replace("b", "", "x" * 97)


async def test_a_lease_is_one_second_to_five_minutes_long(config, poller, monkeypatch):
    # On a busy machine one of a second may end before the answer, and then it is not held.
    monkeypatch.setattr(stored_state, "time", SimpleNamespace(monotonic=lambda: 0.0))
    async with running(config, poller) as (one, _, _):
        for seconds in (0, 0.99, 300.01, -1, float("nan"), float("inf"), "30", None):
            with pytest.raises(ValueError, match="1 to 300 seconds"):
                await one.lease("poll", seconds)
        for seconds in (1, 1.0, 300, 300.0):
            assert await one.lease("p" * 64, seconds)


def test_an_instance_knows_its_folder_and_the_deadline_of_lookups(config, poller, monkeypatch):
    monkeypatch.chdir(config.parent)
    for path in (config, config.relative_to(config.parent)):
        load(path)
        assert poller.CONTEXTS["one"].folder == config.parent
        assert poller.CONTEXTS["one"].lookup_timeout == 0.75
        assert poller.CONTEXTS["one"].timeout == 10.0


async def warnings_of(config):
    found = await check_config(config, live=False)
    return [
        (one.key, one.text)
        for one in found
        if one.grade == "warning" and one.key.startswith("plugins.one") and "no reports" not in one.text
    ]


async def test_the_warnings_of_a_constructor_are_findings_of_a_check(config, poller):
    poller.WARNINGS[:] = [
        ("key", "is empty: set it"),
        ("regions.eu", "is not used"),
        ("", "is a test account"),
    ]
    expected = [
        ("plugins.one.key", "is empty: set it"),
        ("plugins.one.regions.eu", "is not used"),
        ("plugins.one", "is a test account"),
    ]

    assert await warnings_of(config) == expected
    assert check.print_findings(config, await check_config(config, live=False)) == 0


async def test_warnings_are_bounded_and_show_no_secret(config, poller):
    text = config.read_text().replace('"acme-poller"', '"acme-poller"\nkey = "x"', 1)
    config.write_text(text.replace('"the-secret"', '"tulgey-key"'))
    poller.WARNINGS[:] = [
        ("key", "tulgey-key is short"),
        ("key", "a\nb\x1b[31m" + "y" * 10_000),
        ("key\n", 7),
        (None, None),
        *(("key", f"number {number}") for number in range(services.MAX_WARNINGS)),
        *(("key", "number 1") for _ in range(30)),
    ]

    found = await warnings_of(config)

    unnamed = "the plugin warns without a text: report this to its author"
    assert found[0] == ("plugins.one.key", "[redacted] is short")
    assert found[1][1].startswith("a b [31my")
    assert len(found[1][1]) == sanitize.MAX_WARNING_LENGTH
    assert found[2:4] == [("plugins.one.key", unnamed), ("plugins.one", unnamed)]
    assert [problem for _, problem in found[4:]] == [
        *(f"number {number}" for number in range(services.MAX_WARNINGS - 4)),
        "has more warnings than these: correct what they name, and check again",
    ]


async def test_warnings_that_are_just_not_too_many_are_all_there(config, poller):
    poller.WARNINGS[:] = [("key", f"number {number}") for number in range(services.MAX_WARNINGS)] * 2

    assert [problem for _, problem in await warnings_of(config)] == [
        f"number {number}" for number in range(services.MAX_WARNINGS)
    ]


def test_what_a_ping_confirms_and_advises_is_bounded_and_shows_no_secret(config, poller):
    _, instances = load(config)
    context, own = poller.CONTEXTS["one"], instances["one"].services
    for call, texts in ((context.confirm, own.confirmations), (context.advise, own.advice)):
        for text in ("DKIM of a.example: found", "the-secret\nis good", None, "", "x" * 5_000):
            call(text)
        assert list(texts) == [
            "DKIM of a.example: found",
            "[redacted] is good",
            "x" * sanitize.MAX_WARNING_LENGTH,
        ]
        for number in range(100):
            call(f"number {number}")
            call("number 0")
        assert len(texts) == services.MAX_WARNINGS


async def test_a_warning_after_the_constructor_does_nothing_bad(config, poller):
    async with running(config, poller) as (one, _, _):
        for number in range(100):
            one.warn("key", f"number {number}")


def described(config, poller, state):
    """Let an instance describe its contacts; return what the gateway knows of them then."""
    _, instances = load(config)
    poller.CONTEXTS["one"].describe_contacts(state)
    return instances["one"].services.contacts


def test_what_a_source_says_of_its_contacts_is_kept_without_addresses(config, poller):
    problem = "line 3:\nann@players.example twice"
    found = described(config, poller, ContactsState(users=7, as_of=5.0, problem=problem))
    assert (found.users, found.as_of) == (7, 5.0)
    assert "ann@" not in found.problem
    assert found.problem.isprintable()


def test_a_source_may_know_only_its_users_or_only_its_age_and_stop_to_know_it(config, poller):
    _, instances = load(config)
    describe, services = poller.CONTEXTS["one"].describe_contacts, instances["one"].services
    describe(ContactsState(users=7))
    assert (services.contacts.as_of, services.has_said_age) == (None, False)
    describe(ContactsState(as_of=5.0))
    assert (services.contacts.users, services.has_said_age) == (None, True)
    describe(ContactsState(users=7))
    assert (services.contacts.as_of, services.has_said_age) == (None, True)


@pytest.mark.parametrize(
    "state",
    [
        {"users": 7},
        ContactsState(users=-1, as_of=5.0),
        ContactsState(users="7", as_of=5.0),
        ContactsState(users=7, as_of="today"),
        ContactsState(users=7, as_of=5.0, problem=None),
        *(ContactsState(as_of=when) for when in (0.0, -5.0, math.nan, math.inf, 1_800_000_000_000.0)),
    ],
)
def test_an_invalid_description_of_contacts_is_refused(config, poller, state):
    with pytest.raises(TypeError, match="ContactsState"):
        described(config, poller, state)
