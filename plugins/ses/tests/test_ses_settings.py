"""The settings: their defaults, and what refuses the start."""

import msgspec
import pytest

from gatepost.errors import ConfigError
from gatepost.hookspecs import API_VERSION
from gatepost.model import Secret
from gatepost_ses import Ses, Settings


def convert(table):
    return msgspec.convert(table, Settings, dec_hook=lambda _, value: Secret(value))


def faults_of(make_plugin, **keys):
    with pytest.raises(ConfigError) as caught:
        make_plugin(**keys)
    return caught.value.faults


def test_the_api_version_is_current():
    assert Ses.api_version == API_VERSION
    assert Ses.settings_type is Settings


def test_the_secrets_are_not_shown():
    table = {"region": "eu-west-1", "secret_access_key": "hidden-1", "session_token": "hidden-2"}
    assert "hidden" not in repr(convert(table))


@pytest.mark.parametrize("table", [{}, {"region": "eu-west-1", "unknown": 1}, {"region": 7}])
def test_values_of_other_types_are_refused(table):
    with pytest.raises(msgspec.ValidationError):
        convert(table)


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        ({"region": "Ireland"}, "region"),
        ({"region": "eu-west-1.mail.example/"}, "region"),
        ({"access_key_id": "short"}, "access_key_id"),
        ({"access_key_id": None}, "access_key_id"),
        ({"access_key_id": ""}, "access_key_id"),
        ({"secret_access_key": None}, "secret_access_key"),
        ({"secret_access_key": ""}, "secret_access_key"),
        ({"secret_access_key": "two words"}, "secret_access_key"),
        ({"session_token": ""}, "session_token"),
        ({"session_token": "a\r\nX-Evil: 1"}, "session_token"),
        ({"configuration_set": "a b"}, "configuration_set"),
        ({"topic_arn": "arn:aws:sqs:eu-west-1:123456789012:mail"}, "topic_arn"),
        ({"topic_arn": "arn:aws:sns:eu-west-1:123456789012:mail.fifo"}, "topic_arn"),
        ({"topic_arn": "mail"}, "topic_arn"),
        ({"base_url": "email.example"}, "base_url"),
        ({"sns_url": "http://sns.example"}, "sns_url"),
        ({"use_role": True, "secret_access_key": None}, "access_key_id"),
        ({"use_role": True, "access_key_id": None}, "secret_access_key"),
        (
            {"use_role": True, "access_key_id": None, "secret_access_key": None, "session_token": "a-token"},
            "session_token",
        ),
        ({"access_key_id": "ASIAIOSFODNN7EXAMPLE"}, "session_token"),
    ],
)
async def test_invalid_values_refuse_the_start(make_plugin, keys, key):
    faults = faults_of(make_plugin, **keys)
    assert {fault.key for fault in faults} == {key}
    assert "Evil" not in str(faults)


async def test_every_fault_is_named_at_once(make_plugin):
    keys = {
        "region": "Ireland",
        "access_key_id": "short",
        "secret_access_key": "two words",
        "configuration_set": "a b",
        "topic_arn": "arn:aws:sqs:eu-west-1:123456789012:mail",
        "base_url": "email.example",
        "sns_url": "sns.example",
    }
    assert {fault.key for fault in faults_of(make_plugin, **keys)} == {*keys}


@pytest.mark.parametrize(
    ("keys", "ses", "sns"),
    [
        ({}, "https://email.eu-west-1.amazonaws.com", "https://sns.eu-west-1.amazonaws.com"),
        (
            {"topic_arn": "arn:aws:sns:us-east-1:123456789012:mail"},
            "https://email.eu-west-1.amazonaws.com",
            "https://sns.us-east-1.amazonaws.com",
        ),
        (
            {"region": "us-gov-west-1", "topic_arn": "arn:aws-us-gov:sns:us-gov-west-1:123456789012:mail"},
            "https://email.us-gov-west-1.amazonaws.com",
            "https://sns.us-gov-west-1.amazonaws.com",
        ),
        (
            {"base_url": "https://vpce-1.email.eu-west-1.vpce.amazonaws.com/"},
            "https://vpce-1.email.eu-west-1.vpce.amazonaws.com",
            "https://sns.eu-west-1.amazonaws.com",
        ),
    ],
)
async def test_the_hosts_of_a_region(make_plugin, keys, ses, sns):
    plugin = make_plugin(**{"base_url": None, "sns_url": None, **keys})
    assert (plugin._url, plugin._sns._url) == (ses, sns)


async def test_without_a_topic_sns_is_not_needed(make_plugin):
    make_plugin(topic_arn=None, sns_url=None)
