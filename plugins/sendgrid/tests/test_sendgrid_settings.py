"""Settings: what is refused before anything starts, and with what words."""

import base64

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gatepost.errors import ConfigError
from gatepost.hookspecs import API_VERSION
from gatepost.model import Secret
from gatepost_sendgrid import SendGrid, Settings


def public(key):
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


def convert(table):
    return msgspec.convert(table, Settings, dec_hook=lambda _, value: Secret(value))


def test_it_is_written_for_this_contract():
    assert SendGrid.api_version == API_VERSION
    assert SendGrid.settings_type is Settings


def test_an_api_key_is_enough():
    settings = convert({"api_key": "SG.x"})
    assert settings.base_url == "https://api.sendgrid.com"
    assert not settings.webhook_public_key


def test_everything_there_is():
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
def test_what_the_types_refuse(table):
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
        ({"webhook_public_key": public(rsa.generate_private_key(65537, 2048))}, "webhook_public_key"),
        ({"webhook_public_key": public(ec.generate_private_key(ec.SECP384R1()))}, "webhook_public_key"),
    ],
)
async def test_what_the_constructor_refuses(make_plugin, settings, key):
    with pytest.raises(ConfigError) as caught:
        make_plugin(**settings)
    (fault,) = caught.value.faults
    assert fault.key == key
    assert "ключ" not in str(caught.value)
    assert "Evil" not in str(caught.value)


async def test_every_fault_is_named_at_once(make_plugin):
    with pytest.raises(ConfigError) as caught:
        make_plugin(api_key=Secret(""), base_url="x", webhook_public_key="x", categories=("a", "a"))
    keys = [fault.key for fault in caught.value.faults]
    assert sorted(keys) == ["api_key", "base_url", "categories", "webhook_public_key"]
