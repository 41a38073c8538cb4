"""The form of Example's requests, answers and reports."""

import pytest
from gatepost.errors import (
    ConfigError,
    Rejected,  # <sms>
    Unavailable,
)
from gatepost.model import Receipt, Status, StatusEvent  # <send>
from gatepost.testing import emulator
from gatepost.testing.webhook_requests import WEBHOOK_URL  # <send>


async def test_ping_reads_the_account(plugin, provider):
    await plugin.ping()

    assert provider.requests == [("GET", "/v1/account")]


async def test_the_delay_of_retry_after_is_passed_on(plugin, provider):
    provider.plan(emulator.answer(429, {"Retry-After": "30"}))

    with pytest.raises(Unavailable) as error:
        await plugin.ping()

    assert error.value.retry_after == 30


async def test_every_fault_of_the_settings_is_named_at_once(make_plugin):
    with pytest.raises(ConfigError) as error:
        make_plugin(api_key="two words", base_url="ftp://api.invalid")

    assert [fault.key for fault in error.value.faults] == ["api_key", "base_url"]


# <contacts>
async def test_an_answer_about_another_user_is_refused(plugin, provider):
    provider.users["anna"] = {"id": "ANNA", "email": "anna@people.invalid"}

    with pytest.raises(Unavailable):
        await plugin.find_contact("anna")


# </contacts>
# <email>
async def test_an_email_has_the_form_of_the_api(plugin, provider, email):
    message = email(subject="Hello")

    receipt = await plugin.send_email(message)

    assert receipt == Receipt(provider.taken[0].provider_id)
    assert provider.taken[0].message == {
        "channel": "email",
        "reference": message.id,
        "to": message.recipient.reveal(),
        "from": message.sender.address,
        "from_name": message.sender.name,
        "subject": "Hello",
        "html": "<p>Hello</p>",
        "text": "Hello",
        "expires_in": 3600,
        "report_to": WEBHOOK_URL,
    }


# </email>
# <sms>
async def test_a_text_message_has_the_form_of_the_api(plugin, provider, sms):
    message = sms()

    receipt = await plugin.send_sms(message)

    assert receipt == Receipt(provider.taken[0].provider_id)
    assert provider.taken[0].message == {
        "channel": "sms",
        "reference": message.id,
        "to": "+447700900123",
        "from": "Amazing",
        "text": "Hello",
        "expires_in": 3600,
        "report_to": WEBHOOK_URL,
    }


async def test_a_text_message_without_a_sender_is_rejected(plugin, sms):
    with pytest.raises(Rejected):
        await plugin.send_sms(sms(sender=None))


# </sms>
# <send>
async def test_a_report_of_a_failure_has_the_providers_code(reported):
    failed = {"event": "failed", "reference": "ours", "id": "theirs", "code": "no_such_recipient"}

    report = await reported(failed, {"event": "priced", "reference": "ours"})

    assert list(report.events) == [
        StatusEvent(status=Status.FAILED, message_id="ours", provider_id="theirs", code="no_such_recipient")
    ]
    assert report.ignored == {"unknown": 1}


# </send>
