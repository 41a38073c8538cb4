"""The settings: their defaults, and what refuses the start."""

import msgspec
import pytest

from gatepost.errors import ConfigError
from gatepost.hookspecs import API_VERSION
from gatepost.model import Secret
from gatepost_mailgun import Mailgun, Settings


def convert(table):
    return msgspec.convert(table, Settings, dec_hook=lambda _, value: Secret(value))


def test_the_api_version_is_current():
    assert Mailgun.api_version == API_VERSION
    assert Mailgun.settings_type is Settings


def test_only_key_and_domain_are_required():
    settings = convert({"api_key": "k", "domain": "mg.brand.example"})
    assert settings.base_url == "https://api.mailgun.net"
    assert (settings.webhook_signing_key, settings.count_machine_opens) == (None, False)


def test_every_setting():
    settings = convert(
        {
            "api_key": "key-1",
            "domain": "mg.brand.example",
            "webhook_signing_key": "secret-1",
            "base_url": "https://api.eu.mailgun.net",
            "open_tracking": True,
            "click_tracking": False,
            "count_machine_opens": True,
        }
    )
    for private in ("key-1", "secret-1"):
        assert private not in repr(settings)


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"api_key": "k"},
        {"domain": "mg.brand.example"},
        {"api_key": "k", "domain": "mg.brand.example", "unknown": 1},
        {"api_key": "k", "domain": "mg.brand.example", "open_tracking": "yes"},
    ],
)
def test_values_of_other_types_are_refused(table):
    with pytest.raises(msgspec.ValidationError):
        convert(table)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"api_key": ""}, "api_key"),
        ({"api_key": "k\r\nX-Evil: 1"}, "api_key"),
        ({"api_key": "ключ"}, "api_key"),
        ({"webhook_signing_key": ""}, "webhook_signing_key"),
        ({"base_url": "api.mailgun.net"}, "base_url"),
        ({"domain": ""}, "domain"),
        ({"domain": "brand"}, "domain"),
        ({"domain": "https://mg.brand.example"}, "domain"),
        ({"domain": "mg.brand.example/messages?"}, "domain"),
        ({"domain": "../v4/domains"}, "domain"),
        ({"domain": "MG.brand.example"}, "domain"),
        ({"domain": "büro.example"}, "domain"),
        ({"domain": "-x.example"}, "domain"),
        ({"domain": "x" * 250 + ".example"}, "domain"),
    ],
)
async def test_invalid_values_refuse_the_start(make_plugin, settings, key):
    with pytest.raises(ConfigError) as caught:
        make_plugin(**settings)
    (fault,) = caught.value.faults
    assert fault.key == key
    assert "ключ" not in str(caught.value)
    assert "Evil" not in str(caught.value)


async def test_every_fault_is_named_at_once(make_plugin):
    with pytest.raises(ConfigError) as caught:
        make_plugin(api_key="", base_url="x", domain="?", webhook_signing_key="")
    keys = [fault.key for fault in caught.value.faults]
    assert sorted(keys) == ["api_key", "base_url", "domain", "webhook_signing_key"]
