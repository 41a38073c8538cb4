"""The settings: their defaults, and what refuses the start."""

import importlib.metadata
from pathlib import Path

import msgspec
import pytest

from gatepost.errors import ConfigError
from gatepost.hookspecs import API_VERSION, Context
from gatepost.model import Secret
from gatepost.observe import logs
from gatepost_smtp import Settings, SmtpRelay

LISTENER = {
    "bounce_domain": "bounces.example",
    "webhook_secret": Secret("s"),
    "bounce_listen": "127.0.0.1:2525",
}
NO_ADDRESSES = [
    "2525",
    ":2525",
    "127.0.0.1",
    "127.0.0.1:",
    "127.0.0.1:65536",
    "127.0.0.1:smtp",
    "::1:25",
    "[::1]",
    "a b:25",
    "127.0.0.1:0",
    "127.0.0..1:25",
    "256.0.0.1:25",
    "[127.0.0.1]:25",
    "[::1::]:25",
    "mx.bounces.example:25",
]


def relay(**settings):
    return SmtpRelay(
        Settings(**{"host": "relay.example"} | settings), Context(name="relay", log=logs.get("x"))
    )


@pytest.mark.parametrize(("security", "port"), [("none", 25), ("starttls", 587), ("tls", 465)])
def test_the_default_port_depends_on_the_security(security, port):
    assert Settings(host="relay.example", security=security).effective_port() == port
    assert Settings(host="relay.example", security=security, port=2525).effective_port() == 2525


def test_the_default_is_encrypted():
    assert Settings(host="relay.example").security == "starttls"


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        ({"username": "gatepost"}, ["password"]),
        ({"password": Secret("p")}, ["username"]),
        ({"host": "relay.example\r\n"}, ["host"]),
        ({"host": "relay example"}, ["host"]),
        ({"host": "relä.example"}, ["host"]),
        ({"security": "none", "ca_file": "/ca.pem"}, ["ca_file"]),
        ({"helo": "a b"}, ["helo"]),
        ({"return_path": "Bounces <bounces@amazing.example>"}, ["return_path"]),
        ({"bounce_domain": "b_d"}, ["bounce_domain", "webhook_secret"]),
        ({"bounce_domain": "bounces.example"}, ["webhook_secret"]),
        ({"previous_webhook_secret": Secret("p")}, ["webhook_secret"]),
        ({"relayed": "delivered"}, ["webhook_secret"]),
        ({"success_reports": True}, ["webhook_secret"]),
        (LISTENER | {"bounce_listen": "", "return_path": "b@bounces.example"}, ["bounce_domain"]),
        ({"bounce_listen": "127.0.0.1:2525"}, ["bounce_domain"]),
        ({"bounce_listen": "127.0.0.1:2525", "bounce_domain": "bounces.example"}, ["webhook_secret"]),
        *((LISTENER | {"bounce_listen": text}, ["bounce_listen"]) for text in NO_ADDRESSES),
        (LISTENER | {"bounce_certificate": Path("/c.pem")}, ["bounce_key"]),
        (LISTENER | {"bounce_key": Path("/k.pem")}, ["bounce_certificate"]),
        (LISTENER | {"complaint_address": "a@elsewhere.example"}, ["complaint_address"]),
        (LISTENER | {"complaint_address": "bounces.example"}, ["complaint_address"]),
        (LISTENER | {"complaint_address": "A <a@bounces.example>"}, ["complaint_address"]),
        (
            {"bounce_certificate": Path("/c"), "bounce_key": Path("/k"), "complaint_address": "a@b.example"},
            ["bounce_certificate", "bounce_key", "complaint_address"],
        ),
    ],
)
def test_invalid_settings_refuse_the_start_with_every_fault(settings, keys):
    with pytest.raises(ConfigError) as caught:
        relay(**settings)

    assert [fault.key for fault in caught.value.faults] == keys


@pytest.mark.parametrize(
    "settings",
    [{"port": 0}, {"port": 65536}, {"connections": 0}, {"security": "maybe"}, {"host": ""}, {"prot": 25}, {}],
)
def test_values_out_of_range_and_unknown_keys_are_refused(settings):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"host": "relay.example"} | settings if settings else {}, Settings)


@pytest.mark.parametrize("listen", ["127.0.0.1:2525", "[::]:25"])
def test_a_listener_needs_no_webhooks(listen):
    complaints = "complaints@BOUNCES.example"

    assert (
        relay(**LISTENER | {"bounce_listen": listen, "complaint_address": complaints}).reports_itself is True
    )
    assert relay().reports_itself is False


def test_the_entry_point_names_the_plugin():
    [entry] = importlib.metadata.entry_points(group="gatepost", name="smtp")

    assert entry.value == "gatepost_smtp:SmtpRelay"
    assert SmtpRelay.api_version == API_VERSION
    assert SmtpRelay.settings_type is Settings
