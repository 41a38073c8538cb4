"""The settings: what is right, and every fault at once."""

import pytest

from gatepost.errors import ConfigError
from gatepost.hookspecs import API_VERSION
from gatepost_infobip import Infobip

NEWS = {"name": "news", "language": "en_GB"}


@pytest.fixture
def faults_of(make_plugin):
    """Return the faults of a table with these keys in place of good ones."""

    def find(**keys):
        with pytest.raises(ConfigError) as refusal:
            make_plugin(**keys)
        return dict(refusal.value.faults)

    return find


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"default_sender": None},
        {"default_sender": "+447700900999"},
        {"default_sender": "Casino 21!"},
        {"channel": "viber", "default_sender": "Amazing Casino", "category": "promotion"},
        {"channel": "whatsapp", "default_sender": "+447700900999", "template": NEWS},
        {
            "channel": "whatsapp",
            "default_sender": "447700900999",
            "template": {"name": "a_1", "language": "fil"},
        },
        {"webhook_token": None},
        {"webhook_basic": {"username": "", "password": "x"}},
        {"connection": {"proxy": "http://127.0.0.1:3128"}},
        {"base_url": "https://xxxxx.api.infobip.com/"},
    ],
)
async def test_a_good_table_is_accepted(make_plugin, keys):
    make_plugin(**keys)


async def test_every_fault_is_named_at_once_without_secrets(faults_of):
    faults = faults_of(
        base_url="xxxxx.api.infobip.com",
        api_key="App sesame",
        webhook_token="",
        webhook_basic={"username": "a:b", "password": ""},
        default_sender="Much too long",
        category="promotion",
        template={"name": "My News", "language": "en-GB"},
    )

    assert faults.keys() == {
        "base_url",
        "api_key",
        "webhook_token",
        "webhook_basic.username",
        "webhook_basic.password",
        "default_sender",
        "category",
        "template",
        "template.name",
        "template.language",
    }
    assert "sesame" not in str(faults)


@pytest.mark.parametrize(
    ("keys", "key", "problem"),
    [
        (
            {"default_sender": "ABCDEFGHIJKL"},
            "default_sender",
            "must be up to 15 digits or 11 ASCII characters",
        ),
        ({"default_sender": "Ama\nzing"}, "default_sender", "must be up to 15 digits"),
        ({"webhook_token": "x" * 19}, "webhook_token", "is too short"),
        (
            {"channel": "viber", "default_sender": None},
            "default_sender",
            "is missing: set your Viber sender's name",
        ),
        (
            {"channel": "viber", "default_sender": "x" * 51},
            "default_sender",
            "must be your Viber sender's name",
        ),
        (
            {"channel": "viber", "default_sender": "Ama\tzing"},
            "default_sender",
            "must be your Viber sender's name",
        ),
        ({"channel": "viber", "template": NEWS}, "template", 'has no effect without channel = "whatsapp"'),
        (
            {"channel": "whatsapp", "template": NEWS},
            "default_sender",
            "must be your WhatsApp sender's number",
        ),
        (
            {"channel": "whatsapp", "default_sender": "447700900999"},
            "template",
            'must be the name and the language of one for channel = "whatsapp"',
        ),
        ({"category": "promotion"}, "category", 'has no effect: only channel = "viber" has categories'),
        ({"api_key": ""}, "api_key", "must be one word"),
        ({"webhook_token": "two words in place of one"}, "webhook_token", "must be one word"),
    ],
)
async def test_a_fault_says_what_to_do(faults_of, keys, key, problem):
    assert problem in faults_of(**keys)[key]


@pytest.mark.parametrize(
    "keys",
    [
        {"channel": "rcs"},
        {"category": "TRANSACTIONAL"},
        {"webhook_basic": "infobip:x"},
        {"template": {"name": "news"}},
        {"region": "eu"},
        {"base_url": None},
        {"api_key": None},
    ],
)
async def test_what_the_types_exclude_is_refused(faults_of, keys):
    (key,) = keys
    assert any(name.startswith(key) for name in faults_of(**keys))


def test_the_api_version_is_current():
    assert Infobip.api_version == API_VERSION
