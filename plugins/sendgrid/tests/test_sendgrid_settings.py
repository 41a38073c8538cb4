"""The settings: their defaults, and what refuses the start."""

import base64

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gatepost.errors import ConfigError
from gatepost.hookspecs import API_VERSION
from gatepost.model import Secret
from gatepost_sendgrid import SendGrid, Settings


def public_key_text(key):
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


def convert(table):
    return msgspec.convert(table, Settings, dec_hook=lambda _, value: Secret(value))


def test_the_api_version_is_current():
    assert SendGrid.api_version == API_VERSION
    assert SendGrid.settings_type is Settings


def test_only_the_api_key_is_required():
    settings = convert({"api_key": "SG.x"})
    assert settings.base_url == "https://api.sendgrid.com"
    assert not settings.webhook_public_key


def test_every_setting():
    settings = convert(
        {
            "api_key": "SG.x",
            "base_url": "https://api.eu.sendgrid.com",
            "webhook_public_key": "x",
            "sandbox_mode": True,
            "categories": ["a", "b"],
            "click_tracking": False,
            "open_tracking": True,
            "count_machine_opens": True,
        }
    )
    assert settings.categories == ("a", "b")
    assert "SG.x" not in repr(settings)


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"api_key": "SG.x", "unknown": 1},
        {"api_key": "SG.x", "sandbox_mode": "yes"},
        {"api_key": "SG.x", "categories": "smartico"},
        {"api_key": "SG.x", "categories": [""]},
        {"api_key": "SG.x", "categories": ["x" * 256]},
        {"api_key": "SG.x", "categories": [str(number) for number in range(11)]},
    ],
)
def test_values_of_other_types_are_refused(table):
    with pytest.raises(msgspec.ValidationError):
        convert(table)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"api_key": Secret("")}, "api_key"),
        ({"api_key": Secret("SG.x\r\nX-Evil: 1")}, "api_key"),
        ({"api_key": Secret("SG.ключ")}, "api_key"),
        ({"base_url": "api.sendgrid.com"}, "base_url"),
        ({"base_url": "ftp://api.sendgrid.com"}, "base_url"),
        ({"categories": ("a", "a")}, "categories"),
        ({"webhook_public_key": "nonsense"}, "webhook_public_key"),
        ({"webhook_public_key": "ключ"}, "webhook_public_key"),
        ({"webhook_public_key": base64.b64encode(b"nonsense").decode()}, "webhook_public_key"),
        (
            {"webhook_public_key": public_key_text(rsa.generate_private_key(65537, 2048))},
            "webhook_public_key",
        ),
        (
            {"webhook_public_key": public_key_text(ec.generate_private_key(ec.SECP384R1()))},
            "webhook_public_key",
        ),
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
        make_plugin(api_key="", base_url="x", webhook_public_key="x", categories=("a", "a"))
    keys = [fault.key for fault in caught.value.faults]
    assert sorted(keys) == ["api_key", "base_url", "categories", "webhook_public_key"]
