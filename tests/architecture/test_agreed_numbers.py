"""The numbers that were agreed with Smartico and with operators; a change of one breaks the contract.

All other tests take these numbers from the code, so they would still pass after such a change.
"""

import inspect

import pytest

from gatepost import gateway, model, throttle
from gatepost.callbacks import attempt as callback_attempt
from gatepost.callbacks.client import CallbackClient
from gatepost.config import settings
from gatepost.delivery import attempt
from gatepost.errors import Code
from gatepost.model import Channel, Status
from gatepost.plugin_host import isolation
from gatepost.server import process
from gatepost.web import body


def bounds(low, high):
    """Return the bounds of a random pause instead of a value between them."""
    return low, high


@pytest.mark.parametrize(
    ("tries", "seconds"),
    list(enumerate([5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 10 * 3600], start=1)),
)
def test_the_pause_after_each_failed_call_of_a_callback(tries, seconds):
    low, high = callback_attempt.retry_delay(tries, None, bounds)

    assert (low, high) == (pytest.approx(0.8 * seconds), pytest.approx(1.2 * seconds))


def test_a_callback_is_dead_after_its_eighth_call():
    assert callback_attempt.retry_delay(8, None, bounds) is None


def test_a_callback_may_take_15_seconds_and_a_request_body_10():
    assert inspect.signature(CallbackClient).parameters["timeout"].default == 15
    assert body.BODY_TIMEOUT == 10


def test_the_longest_pause_after_a_failed_send_doubles_up_to_15_minutes():
    pauses = [attempt.retry_delay(tries, bounds) for tries in (1, 2, 3, 9, 10, 1000)]

    assert pauses == [(0, 2), (0, 4), (0, 8), (0, 512), (0, 900), (0, 900)]
    assert (throttle.MIN_RETRY_AFTER, throttle.MAX_RETRY_AFTER) == (1, 3600)


def test_a_webhook_signature_is_valid_for_26_hours():
    assert model.MAX_SIGNATURE_AGE == 26 * 3600


def test_a_gateway_stops_within_12_seconds():
    assert process.STOP_TIMEOUT == 12
    # A send and then a close may both ignore their cancellation.
    assert gateway.DRAIN_TIMEOUT + gateway.MIN_PLUGIN_CLOSE_TIMEOUT + 2 * isolation.CANCEL_TIMEOUT < 12


def test_the_error_codes():
    assert {code.value: code.name for code in Code} == {
        0: "ACCEPTED",
        1: "USER_NOT_FOUND",
        2: "NO_ADDRESS",
        3: "WRONG_AUTHORIZATION",
        4: "NOT_ALLOWED",
        5: "MALFORMED",
        6: "TOO_LARGE",
        7: "CALLBACK_REFUSED",
        8: "NO_PROVIDER",
        9: "UID_USED",
        10: "SENDER_REFUSED",
        11: "PREVIEW_REFUSED",
        12: "TRY_AGAIN",
        13: "MUST_NOT_CONTACT",
        14: "RULES_REFUSE",
        99: "INTERNAL",
    }


def test_the_seven_statuses():
    values = "accepted delivered failed rejected complained opened unsubscribed"
    assert {status.value for status in Status} == set(values.split())


def test_the_defaults_of_the_settings():
    server, delivery, contacts = settings.Server(), settings.Delivery(), settings.Contacts()
    client, plugin = settings.Client(authorization=()), settings.InstanceSettings(name="relay", use="smtp")

    assert (server.host, server.port, server.trusted_proxies) == ("127.0.0.1", 8080, ())
    assert (server.max_body, server.public_url) == (1_048_576, "")
    assert settings.Store().url.reveal() == "sqlite:///gatepost.db"
    assert client.sms_authorization
    assert not client.allow_private_callbacks
    assert client.allow_ips == client.callback_hosts == client.preview_recipients == ()
    assert (contacts.timeout, contacts.default_region) == (2, "")
    assert (delivery.uncertain_wait, delivery.uncertain) == (120, "resend")
    assert [delivery.lifetime(channel) for channel in Channel] == [86_400, 14_400]
    assert delivery.retention == 2_592_000
    assert (plugin.concurrency, plugin.per_second, plugin.timeout) == (16, 0, 10)
