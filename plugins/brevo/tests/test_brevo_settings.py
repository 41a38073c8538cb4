"""The settings: their defaults, and what refuses the start."""

import pytest

from gatepost.errors import ConfigError
from gatepost.hookspecs import API_VERSION
from gatepost.model import Secret
from gatepost_brevo import Brevo, Settings

LOGIN = {"username": "brevo", "password": "sesame"}


@pytest.mark.parametrize(
    ("keys", "faults"),
    [
        ({"api_key": ""}, {"api_key": "must be one word"}),
        ({"api_key": "xkey\r\nX: y"}, {"api_key": "must be one word"}),
        ({"webhook_token": ""}, {"webhook_token": "must be one word"}),
        ({"webhook_basic": LOGIN}, {"webhook_basic": "choose one of them"}),
        (
            {"webhook_token": None, "webhook_basic": {"username": "a:b", "password": ""}},
            {"webhook_basic.username": "can't have a colon", "webhook_basic.password": "is empty"},
        ),
        ({"default_sender": "Amazing"}, {"default_sender": 'only for channel = "sms"'}),
        ({"category": "marketing"}, {"category": 'only for channel = "sms"'}),
        ({"channel": "sms", "default_sender": "Amazing Casino"}, {"default_sender": "up to 11"}),
        ({"base_url": "api.brevo.com"}, {"base_url": "must be a URL"}),
        (
            {"api_key": "", "base_url": "x", "default_sender": "y", "category": "marketing"},
            {
                "api_key": "one word",
                "base_url": "a URL",
                "default_sender": "only for",
                "category": "only for",
            },
        ),
        ({"channel": "whatsapp"}, {"channel": "email, sms"}),
        ({"category": "otp"}, {"category": "transactional, marketing"}),
        ({"region": "eu"}, {"region": ""}),
        ({"webhook_basic": {"username": "brevo"}}, {"webhook_basic.password": ""}),
    ],
)
async def test_every_fault_is_named_at_once_without_secrets(make_plugin, keys, faults):
    with pytest.raises(ConfigError) as refusal:
        make_plugin(**keys)

    found = {fault.key: fault.problem for fault in refusal.value.faults}
    assert found.keys() == faults.keys()
    for key, problem in faults.items():
        assert problem in found[key]
    assert "sesame" not in str(found)


def test_the_defaults():
    settings = Settings(api_key=Secret("k"))

    assert (settings.channel, settings.category, settings.default_sender) == ("email", "transactional", "")
    assert (settings.webhook_token, settings.webhook_basic) == (None, None)
    assert settings.base_url == "https://api.brevo.com"
    assert "k" not in repr(settings.api_key)


def test_the_api_version_is_current():
    assert Brevo.api_version == API_VERSION
