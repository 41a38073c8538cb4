"""The settings: their defaults, and what refuses the start."""

import subprocess
import sys

import msgspec
import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from gatepost.errors import ConfigError
from gatepost.hookspecs import API_VERSION, Context
from gatepost.model import Receipt, Secret
from gatepost_vonage.plugin import Vonage
from gatepost_vonage.settings import Settings

CONTEXT = Context(name="vonage-test", log=structlog.get_logger())


def faults_of(settings):
    with pytest.raises(ConfigError) as refusal:
        Vonage(settings, CONTEXT)
    return {fault.key: fault.problem for fault in refusal.value.faults}


def test_every_fault_is_named_at_once_without_secrets():
    settings = Settings(
        application_id=" ",
        private_key=Secret("sesame"),
        signature_secret=Secret(""),
        default_sender="Much too long",
        base_url="api.nexmo.com",
    )

    faults = faults_of(settings)

    assert faults.keys() == {
        "application_id",
        "private_key",
        "signature_secret",
        "default_sender",
        "base_url",
    }
    assert "sesame" not in str(faults)


def pem(key, form=PrivateFormat.PKCS8, encryption=None):
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption()).decode()


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda _: "", "not a private key in PEM form"),
        (lambda _: "/run/secrets/vonage.pem", "not a private key in PEM form"),
        (lambda key: pem(key).replace("\n", "\\n"), "not a private key in PEM form"),
        (lambda key: pem(key)[:200], "not a private key in PEM form"),
        (lambda _: "\ud800", "not a private key in PEM form"),
        (lambda key: pem(key, encryption=BestAvailableEncryption(b"x")), "protected by a passphrase"),
        (lambda _: pem(ec.generate_private_key(ec.SECP256R1())), "not an RSA key"),
    ],
)
async def test_an_unusable_private_key_refuses_the_start(settings, vonage, spoil, problem):
    key = load_pem_private_key(vonage.private_key.encode(), None)

    faults = faults_of(settings(private_key=Secret(spoil(key))))

    assert faults.keys() == {"private_key"}
    assert problem in faults["private_key"]


@pytest.mark.parametrize(
    "form",
    [
        lambda key: pem(key, PrivateFormat.TraditionalOpenSSL),
        lambda key: pem(key).replace("\n", "\r\n"),
        lambda key: pem(key).replace("\n", " "),
        lambda key: "\n" + pem(key).strip(),
    ],
    ids=["BEGIN RSA PRIVATE KEY", "CR LF", "one line", "trimmed"],
)
async def test_a_key_in_another_pem_form_is_accepted(vonage, opened, sms, form):
    key = load_pem_private_key(vonage.private_key.encode(), None)

    async with opened(private_key=Secret(form(key))) as plugin:
        assert await plugin.send_sms(sms()) == Receipt(vonage.taken[0].provider_id)


def test_unknown_settings_are_refused_and_others_have_defaults():
    table = {"application_id": "a", "private_key": "k"}

    def secret(kind, value):
        assert kind is Secret
        return Secret(value)

    settings = msgspec.convert(table, Settings, dec_hook=secret)
    assert settings == Settings(application_id="a", private_key=Secret("k"))
    assert (settings.default_sender, settings.base_url) == ("", "https://api.nexmo.com")
    assert "k" not in repr(settings.private_key)
    with pytest.raises(msgspec.ValidationError, match="api_key"):
        msgspec.convert(table | {"api_key": "x"}, Settings, dec_hook=secret)


def test_the_api_version_is_current():
    assert Vonage.api_version == API_VERSION


def test_importing_the_plugin_loads_neither_the_sdk_nor_cryptography():
    heavy = "{'vonage', 'vonage_messages', 'vonage_jwt', 'pydantic', 'requests', 'cryptography', 'jwt'}"
    probe = f"import sys; from gatepost_vonage import Vonage; print(sorted({heavy} & set(sys.modules)))"

    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"
