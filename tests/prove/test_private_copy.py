"""The private copy of ``gatepost prove`` has the operator's rules, and nothing in it leads out of this machine."""

import re
import tomllib
from contextlib import asynccontextmanager

import pytest

from gatepost.config.toml_file import read_settings
from gatepost.plugin_host import discovery
from gatepost.prove.dotted import dotted_lines
from gatepost.prove.private_copy import PrivateCopy, sending_instances
from gatepost.prove.surroundings import surround
from prove.configurations import EVERYTHING

SECRETS = ("the-operators-secret", "the-operators-own-key")


def settings_of(folder, text):
    (folder / "key.pem").write_text("a key")
    file = folder / "gatepost.toml"
    file.write_text(text)
    found, faults = read_settings(file, discovery.settings_type)
    assert faults == []
    return found


@pytest.fixture
def settings(tmp_path):
    return settings_of(tmp_path, EVERYTHING)


@asynccontextmanager
async def copied(settings, tmp_path):
    """Yield the private copy of these settings, and its file."""
    clients = [*settings.clients, "gatepost-prove"]
    async with surround(
        settings,
        sending_instances(settings),
        clients,
        emulate=True,
        store_url="sqlite:///gatepost.db",
        preview="preview@office.example",
    ) as around:
        folder = tmp_path / "private"
        folder.mkdir()
        private = PrivateCopy(settings, around)
        yield private, private.write(folder)


@pytest.fixture
async def copy(settings, tmp_path):
    async with copied(settings, tmp_path) as (_, file):
        yield file


async def test_every_host_in_it_is_on_this_machine(copy):
    text = copy.read_text()

    hosts = set(re.findall(r"https?://([^/:\"]+)", text))
    assert hosts == {"127.0.0.1"}
    tables = tomllib.loads(text)
    assert {table.get("host", "127.0.0.1") for table in tables["plugins"].values()} == {"127.0.0.1"}
    assert {tuple(client["callback_hosts"]) for client in tables["clients"].values()} == {("127.0.0.1",)}


async def test_no_secret_of_the_operator_is_in_it_and_only_its_owner_can_read_it(copy):
    assert not any(secret in copy.read_text() for secret in SECRETS)
    assert copy.stat().st_mode & 0o077 == 0


async def test_it_has_the_same_clients_senders_and_rules(copy, settings):
    tables = tomllib.loads(copy.read_text())

    assert [*tables["clients"]] == ["first", "second", "gatepost-prove"]
    assert tables["clients"]["first"]["email_senders"] == ["@brand.example"]
    assert tables["clients"]["second"]["sms_authorization"] is False
    assert tables["server"]["max_body"] == 100_000
    for channel, routes in (("email", settings.routes.email), ("sms", settings.routes.sms)):
        copies = [route for route in tables["routes"][channel] if not route["name"].startswith("prove-")]
        for route, copied in zip(routes, copies, strict=True):
            for key in ("name", "countries", "prefixes", "domains", "senders", "use", "split", "refuse"):
                assert copied.get(key, type(getattr(route, key))()) in (
                    getattr(route, key),
                    list(getattr(route, key)),
                )


async def test_no_rate_and_no_warmup_slow_the_run_down(tmp_path):
    limits = "[plugins.grid]\nper_second = 3\nwarmup = { from = 500 }"
    settings = settings_of(tmp_path, EVERYTHING.replace("[plugins.grid]", limits))
    assert settings.plugins["grid"].warmup.first == 500

    async with copied(settings, tmp_path) as (private, file):
        tables = tomllib.loads(file.read_text())
    assert not tables["plugins"]["grid"].keys() & {"per_second", "warmup"}
    assert "plugins.grid.warmup: no cap, for the same reason" in private.changes


def test_a_configuration_is_shown_with_dots_for_everything_that_could_be_a_secret(settings):
    lines = dotted_lines(settings.path)

    text = "\n".join(lines)
    assert not any(
        word in text for word in (*SECRETS, "brand.example", "203.0.113", "relay.example", "key.pem")
    )
    assert "plugins.grid.use = sendgrid" in lines
    assert "plugins.grid.api_key = •••••" in lines
    assert "routes.sms.2.countries = [DE]" in lines
    assert "routes.email.1.split = {grid = 50, relay = 50}" in lines
    assert "clients.first.per_user_per_day = 5" in lines
