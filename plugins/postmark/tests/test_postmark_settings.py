"""The settings: their defaults, and what refuses the start."""

import msgspec
import pytest

from gatepost.errors import ConfigError
from gatepost.hookspecs import API_VERSION
from gatepost.model import Secret
from gatepost.wire import Login
from gatepost_postmark import Postmark, Settings


def convert(table):
    return msgspec.convert(table, Settings, dec_hook=lambda _, value: Secret(value))


def test_the_api_version_is_current():
    assert Postmark.api_version == API_VERSION
    assert Postmark.settings_type is Settings


def test_only_the_token_is_required():
    settings = convert({"server_token": "t"})
    assert settings.base_url == "https://api.postmarkapp.com"
    assert settings.message_stream == "outbound"
    assert (settings.webhook_basic, settings.open_tracking, settings.click_tracking) == (None, None, None)


def test_every_setting():
    settings = convert(
        {
            "server_token": "token-1",
            "message_stream": "broadcast",
            "webhook_basic": {"username": "postmark", "password": "secret-1"},
            "base_url": "https://postmark.example",
            "open_tracking": True,
            "click_tracking": False,
        }
    )
    assert settings.webhook_basic == Login(username="postmark", password=Secret("secret-1"))
    assert "token-1" not in repr(settings)
    assert "secret-1" not in repr(settings)


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"server_token": "t", "unknown": 1},
        {"server_token": "t", "open_tracking": "yes"},
        {"server_token": "t", "webhook_basic": "user:password"},
        {"server_token": "t", "webhook_basic": {"username": "postmark"}},
    ],
)
def test_values_of_other_types_are_refused(table):
    with pytest.raises(msgspec.ValidationError):
        convert(table)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"server_token": ""}, "server_token"),
        ({"server_token": "t\r\nX-Evil: 1"}, "server_token"),
        ({"server_token": "токен"}, "server_token"),
        ({"base_url": "api.postmarkapp.com"}, "base_url"),
        ({"message_stream": ""}, "message_stream"),
        ({"message_stream": "Outbound"}, "message_stream"),
        ({"message_stream": "../email"}, "message_stream"),
        ({"message_stream": "x" * 31}, "message_stream"),
        ({"webhook_basic": {"username": "postmark", "password": ""}}, "webhook_basic.password"),
        ({"webhook_basic": {"username": "post:mark", "password": "x"}}, "webhook_basic.username"),
    ],
)
async def test_invalid_values_refuse_the_start(make_plugin, settings, key):
    with pytest.raises(ConfigError) as caught:
        make_plugin(**settings)
    (fault,) = caught.value.faults
    assert fault.key == key
    assert "токен" not in str(caught.value)
    assert "Evil" not in str(caught.value)


async def test_every_fault_is_named_at_once(make_plugin):
    with pytest.raises(ConfigError) as caught:
        make_plugin(
            server_token="", base_url="x", message_stream="?", webhook_basic={"username": "", "password": ""}
        )
    keys = [fault.key for fault in caught.value.faults]
    assert sorted(keys) == ["base_url", "message_stream", "server_token", "webhook_basic.password"]
