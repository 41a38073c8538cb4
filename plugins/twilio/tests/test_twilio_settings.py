"""The settings: their defaults, and what refuses the start."""

import subprocess
import sys

import pytest

from gatepost.errors import ConfigError
from gatepost.hookspecs import API_VERSION
from gatepost.model import Secret
from gatepost_twilio import Settings, Twilio

SERVICE = "MG" + "0" * 32
TEMPLATE = "HX" + "0" * 32
NUMBER = "+447700900999"


@pytest.fixture
def faults(make_plugin):
    """Return a function that returns the faults of an instance with these keys."""

    def find(**keys):
        with pytest.raises(ConfigError) as refusal:
            make_plugin(**keys)
        return dict(refusal.value.faults)

    return find


async def test_every_fault_is_named_at_once_without_secrets(faults):
    found = faults(
        account_sid="AC1",
        auth_token="two words",
        secondary_auth_token="",
        api_key={"username": "SK2", "password": ""},
        messaging_service="MG3",
        default_sender="Much too long",
        template=TEMPLATE,
        base_url="api.twilio.com",
    )

    assert found.keys() == {
        "account_sid",
        "auth_token",
        "secondary_auth_token",
        "api_key.username",
        "api_key.password",
        "messaging_service",
        "template",
        "base_url",
    }
    assert "two words" not in str(found)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"default_sender": "ABCDEFGHIJKL"}, {"default_sender": "must be a phone number, a short code"}),
        ({"template": TEMPLATE}, {"template": 'only for channel = "whatsapp"'}),
        ({"messaging_service": "HX" + "0" * 32}, {"messaging_service": "MG and 32 hexadecimal digits"}),
        ({"channel": "whatsapp", "default_sender": NUMBER}, {"template": "HX and 32 hexadecimal digits"}),
        ({"channel": "whatsapp", "template": TEMPLATE}, {"default_sender": "number of your WhatsApp sender"}),
        (
            {
                "channel": "whatsapp",
                "template": TEMPLATE,
                "default_sender": "60606",
                "messaging_service": SERVICE,
            },
            {"default_sender": "number of your WhatsApp sender"},
        ),
        ({"auth_token": None, "api_key": None}, {"auth_token": "without api_key nothing can be sent"}),
    ],
)
async def test_each_fault_says_what_to_do(faults, keys, expected):
    # The emulator's own sender is a name.
    found = faults(**{"default_sender": None, **keys})

    assert found.keys() == expected.keys()
    for key, problem in expected.items():
        assert problem in found[key]


@pytest.mark.parametrize(
    "keys",
    [
        {"base_url": "https://api.dublin.ie1.twilio.com"},
        {"default_sender": "", "messaging_service": SERVICE},
        {"channel": "whatsapp", "default_sender": "", "messaging_service": SERVICE, "template": TEMPLATE},
        {"auth_token": None},
        {"api_key": None},
    ],
)
async def test_these_settings_start(make_plugin, keys):
    make_plugin(**keys)


@pytest.mark.parametrize(
    "keys", [{"channel": "viber"}, {"api_key": {"username": "SK1"}}, {"api_secret": "x"}]
)
async def test_wrong_types_and_unknown_keys_are_refused(faults, keys):
    assert faults(**keys)


def test_defaults():
    settings = Settings(account_sid="AC1", auth_token=Secret("t"))

    assert (settings.channel, settings.base_url) == ("sms", "https://api.twilio.com")


def test_the_api_version_is_current():
    assert Twilio.api_version == API_VERSION


def test_the_plugin_does_not_load_the_sdk():
    probe = "import sys; from gatepost_twilio import Twilio; print('twilio' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "False"
