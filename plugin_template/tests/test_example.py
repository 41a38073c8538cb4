"""The form of Example's requests, answers and reports."""

import msgspec  # <sms>
import pytest
import structlog

from gatepost.errors import (
    ConfigError,
    Rejected,  # <sms>
    Unavailable,
)
from gatepost.hookspecs import Context
from gatepost.model import (
    Receipt,  # <send>
    Secret,
    Status,  # <send>
    StatusEvent,  # <send>
)
from gatepost.testing import emulator
from gatepost_example import Example, Settings


async def test_ping_reads_the_account(plugin, provider):
    await plugin.ping()

    assert provider.requests == [("GET", "/v1/account")]


async def test_the_delay_of_retry_after_is_passed_on(plugin, provider):
    provider.plan(emulator.answer(429, {"Retry-After": "30"}))

    with pytest.raises(Unavailable) as error:
        await plugin.ping()

    assert error.value.retry_after == 30


def test_every_fault_of_the_settings_is_named_at_once():
    settings = Settings(api_key=Secret("two words"), base_url="ftp://api.invalid")

    with pytest.raises(ConfigError) as error:
        Example(settings, Context(name="test", log=structlog.get_logger()))

    assert [fault.key for fault in error.value.faults] == ["api_key", "base_url"]


# <contacts>
async def test_an_answer_about_another_user_is_refused(plugin, provider):
    provider.users["anna"] = {"id": "ANNA", "email": "anna@people.invalid"}

    with pytest.raises(Unavailable):
        await plugin.find_contact("anna")


# </contacts>
# <email>
async def test_an_email_has_the_form_of_the_api(plugin, provider, email):
    receipt = await plugin.send_email(email)

    assert receipt == Receipt(provider.taken[0].provider_id)
    assert provider.taken[0].message == {
        "channel": "email",
        "reference": email.id,
        "to": "anna@people.invalid",
        "from": {"address": "news@amazing.invalid", "name": "Amazing"},
        "subject": "Hello",
        "html": "<p>Hello</p>",
        "text": "Hello",
        "expires_in": 600,
    }


# </email>
# <sms>
async def test_a_text_message_has_the_form_of_the_api(plugin, provider, sms):
    receipt = await plugin.send_sms(sms)

    assert receipt == Receipt(provider.taken[0].provider_id)
    assert provider.taken[0].message == {
        "channel": "sms",
        "reference": sms.id,
        "to": "+447700900123",
        "from": "Amazing",
        "text": "Hello",
        "expires_in": 600,
    }


async def test_a_text_message_without_a_sender_is_rejected(plugin, sms):
    with pytest.raises(Rejected):
        await plugin.send_sms(msgspec.structs.replace(sms, sender=None))


# </sms>
# <send>
async def test_a_report_of_a_failure_has_the_providers_code(plugin, signed_report):
    event = {"event": "failed", "reference": "ours", "id": "theirs", "code": "no_such_recipient"}

    report = await plugin.parse_webhook(signed_report(event, {"event": "priced", "reference": "ours"}))

    assert list(report.events) == [
        StatusEvent(status=Status.FAILED, message_id="ours", provider_id="theirs", code="no_such_recipient")
    ]
    assert report.ignored == {"unknown": 1}


# </send>
