"""The settings: their defaults, and what refuses the start."""

import subprocess
import sys

import msgspec
import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateNumbers
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
from gatepost_vonage.settings import Settings, Template

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


NUMBER = "447700900999"
NEWS = Template(name="news", language="en-GB")


@pytest.mark.parametrize(
    ("table", "faults"),
    [
        ({"channel": "viber"}, {"default_sender": "is missing: it must be the Viber sender id"}),
        ({"channel": "viber", "default_sender": "x" * 51}, {"default_sender": "must be the Viber sender id"}),
        (
            {"channel": "viber", "default_sender": " Amazing"},
            {"default_sender": "without spaces at the ends"},
        ),
        ({"channel": "viber", "default_sender": "Ama\nzing"}, {"default_sender": "1 to 50 characters"}),
        ({"channel": "viber", "default_sender": "A", "template": NEWS}, {"template": "only for channel"}),
        ({"template": NEWS}, {"template": 'is only for channel = "whatsapp"'}),
        ({"category": "promotion"}, {"category": 'is only for channel = "viber"'}),
        (
            {"channel": "whatsapp"},
            {
                "default_sender": "is missing: it must be the WhatsApp Business number",
                "template": "is missing",
            },
        ),
        (
            {"channel": "whatsapp", "default_sender": "Amazing", "template": NEWS, "category": "promotion"},
            {"default_sender": "must be the WhatsApp Business number", "category": "only for channel"},
        ),
        (
            {
                "channel": "whatsapp",
                "default_sender": NUMBER,
                "template": Template(name="My News", language="English"),
            },
            {"template.name": "a-z 0-9 and underscore", "template.language": "such as en or en-GB"},
        ),
        (
            {"channel": "whatsapp", "default_sender": NUMBER, "template": Template(name="", language="")},
            {"template.name": "must be a template's name", "template.language": "must be a language"},
        ),
        ({"default_sender": "Amazing Casino"}, {"default_sender": "must be up to 11 of the characters"}),
    ],
)
async def test_the_settings_of_each_channel_are_checked(vonage, table, faults):
    settings = Settings(application_id="a", private_key=Secret(vonage.private_key), **table)

    found = faults_of(settings)

    assert found.keys() == faults.keys()
    for key, problem in faults.items():
        assert problem in found[key]


@pytest.mark.parametrize(
    "table",
    [
        {"channel": "pigeon"},
        {"channel": "viber_service"},
        {"category": "otp"},
        {"template": "news"},
        {"template": {"name": "news"}},
        {"template": {"name": "news", "language": "en", "locale": "en"}},
    ],
)
def test_a_wrong_channel_category_or_template_is_refused(table):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(
            {"application_id": "a", "private_key": ""} | table, Settings, dec_hook=lambda _, v: Secret(v)
        )


def damaged(key):
    numbers = key.private_numbers()
    other = RSAPrivateNumbers(
        p=numbers.p,
        q=numbers.q,
        d=numbers.d + 2,
        dmp1=numbers.dmp1,
        dmq1=numbers.dmq1,
        iqmp=numbers.iqmp,
        public_numbers=numbers.public_numbers,
    )
    return other.private_key(unsafe_skip_rsa_key_validation=True)


def pem(key, form=PrivateFormat.PKCS8, encryption=None):
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption()).decode()


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda _: "", "not a private key in PEM form"),
        (lambda _: "/run/secrets/vonage.pem", "not a private key in PEM form"),
        (lambda key: pem(key).replace("\n", "\\n"), "not a private key in PEM form"),
        (lambda key: pem(key)[:200], "not a private key in PEM form"),
        (lambda key: pem(damaged(key)), "not a private key in PEM form"),
        (lambda _: "\ud800", "not a private key in PEM form"),
        (lambda key: pem(key, encryption=BestAvailableEncryption(b"x")), "protected by a passphrase"),
        (lambda _: pem(ec.generate_private_key(ec.SECP256R1())), "not an RSA key"),
    ],
)
async def test_an_unusable_private_key_refuses_the_start(make_plugin, vonage, spoil, problem):
    key = load_pem_private_key(vonage.private_key.encode(), None)

    with pytest.raises(ConfigError) as caught:
        make_plugin(private_key=spoil(key))
    faults = dict(caught.value.faults)

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

    async with opened(private_key=form(key)) as plugin:
        assert await plugin.send_sms(sms()) == Receipt(vonage.taken[0].provider_id)


def test_unknown_settings_are_refused_and_others_have_defaults():
    table = {"application_id": "a", "private_key": "k"}

    def secret(kind, value):
        assert kind is Secret
        return Secret(value)

    settings = msgspec.convert(table, Settings, dec_hook=secret)
    assert settings == Settings(application_id="a", private_key=Secret("k"))
    assert (settings.default_sender, settings.base_url) == ("", "https://api.nexmo.com")
    assert (settings.channel, settings.category, settings.template) == ("sms", "transaction", None)
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
