"""The settings: their defaults, and what refuses the start."""

import msgspec
import pytest

from gatepost.errors import ConfigError
from gatepost.hookspecs import API_VERSION
from gatepost.model import Secret
from gatepost_sinch import Settings, Sinch

LOGIN = {"username": "sinch", "password": "sesame"}


@pytest.mark.parametrize(
    ("keys", "faults"),
    [
        ({"service_plan_id": ""}, {"service_plan_id": "must be the id"}),
        ({"service_plan_id": "a/../b"}, {"service_plan_id": "must be the id"}),
        ({"api_token": "a b"}, {"api_token": "must be one word"}),
        ({"webhook_secret": ""}, {"webhook_secret": "is empty"}),
        ({"webhook_basic": LOGIN}, {"webhook_basic": "can't stand beside webhook_secret"}),
        (
            {"webhook_secret": None, "webhook_basic": {"username": "a:b", "password": ""}},
            {"webhook_basic.username": "can't have a colon", "webhook_basic.password": "is empty"},
        ),
        ({"default_sender": "Amazing Casino"}, {"default_sender": "up to 11 letters"}),
        ({"base_url": "eu.sms.api.sinch.com"}, {"base_url": "must be a URL"}),
        ({"region": "mars"}, {"region": "us, eu, au, br, ca"}),
        ({"region_url": "x"}, {"region_url": ""}),
        (
            {"service_plan_id": "", "api_token": "", "base_url": "x", "default_sender": "-"},
            {"service_plan_id": "id", "api_token": "word", "base_url": "URL", "default_sender": "number"},
        ),
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


@pytest.mark.parametrize("region", ["us", "eu", "au", "br", "ca"])
def test_each_region_has_a_host(region):
    settings = Settings(service_plan_id="a", api_token=Secret("t"), region=region)

    assert settings.url == f"https://{region}.sms.api.sinch.com"
    assert msgspec.structs.replace(settings, base_url="http://b").url == "http://b"


def test_the_defaults():
    settings = Settings(service_plan_id="a", api_token=Secret("t"))

    assert (settings.region, settings.default_sender, settings.base_url) == ("us", "", "")
    assert (settings.webhook_secret, settings.webhook_basic) == (None, None)
    assert "t" not in repr(settings.api_token)


def test_the_api_version_is_current():
    assert Sinch.api_version == API_VERSION
