"""The plugin sends the same requests as Infobip's own client for Python, where that is installed.

It is no dependency of anything here: ``pip install infobip-api-python-client``. It has no WhatsApp.
"""

import asyncio

import pytest

pytest.importorskip("infobip_api_client", reason="infobip-api-python-client is not installed")

from infobip_api_client import models
from infobip_api_client.api.sms_api import SmsApi
from infobip_api_client.api.viber_api import ViberApi
from infobip_api_client.api_client import ApiClient, Configuration

ADDRESS = "https://gatepost.example/webhooks/infobip"


@pytest.fixture
def client(infobip):
    return ApiClient(Configuration(host=infobip.base_url, api_key=infobip.api_key))


def parts_of(message, infobip):
    """Return what the models of both channels have in the same form; the ids differ, as Infobip takes each once."""
    reports_to = f"{ADDRESS}?token={infobip.webhook_token}"
    validity = models.ValidityPeriod(amount=3600, time_unit=models.ValidityPeriodTimeUnit.SECONDS)
    return {"message_id": f"{message.id}.other", "to": "447700900123"}, validity, reports_to


async def test_a_text_message_is_the_same_as_the_clients(infobip, on, sms, client):
    message = sms('Привет "you" \\ \n 👋', tags=("smartico", "uk"))
    destination, validity, reports_to = parts_of(message, infobip)
    async with on("sms", {"webhook_url": ADDRESS}) as plugin:
        receipt = await plugin.send_sms(message)
    request = models.SmsRequest(
        messages=[
            models.SmsMessage(
                sender="Amazing",
                destinations=[models.SmsDestination(**destination)],
                content=models.SmsMessageContent(models.SmsTextContent(text=message.text)),
                options=models.SmsMessageOptions(
                    validity_period=validity, campaign_reference_id="smartico:uk"
                ),
                webhooks=models.SmsWebhooks(
                    delivery=models.SmsMessageDeliveryReporting(url=reports_to),
                    content_type="application/json",
                    callback_data=message.id,
                ),
            )
        ],
        options=models.SmsMessageRequestOptions(include_sms_count_in_response=True),
    )

    answer = await asyncio.to_thread(SmsApi(client).send_sms_messages, request)

    assert answer.messages[0].status.group_name == "PENDING"
    assert answer.messages[0].details.message_count == receipt.parts == 1
    expect_same(infobip)


@pytest.mark.parametrize(
    ("category", "label"), [("transaction", "TRANSACTIONAL"), ("promotion", "PROMOTIONAL")]
)
async def test_a_viber_message_is_the_same_as_the_clients(infobip, on, sms, client, category, label):
    message = sms("Hello 👋")
    destination, validity, reports_to = parts_of(message, infobip)
    async with on("viber", {"webhook_url": ADDRESS}, category=category) as plugin:
        await plugin.send_sms(message)
    request = models.ViberRequest(
        messages=[
            models.ViberMessage(
                sender="Amazing Casino",
                destinations=[models.ViberToDestination(**destination)],
                content=models.ViberOutboundTextContent(text=message.text, type="TEXT"),
                options=models.ViberMessageOptions(validity_period=validity, label=label),
                webhooks=models.ViberWebhooks(
                    delivery=models.ViberMessageDeliveryReporting(url=reports_to),
                    seen=models.ViberSeenStatusReporting(url=reports_to),
                    content_type="application/json",
                    callback_data=message.id,
                ),
            )
        ],
        options=models.ViberDefaultMessageRequestOptions(),
    )

    await asyncio.to_thread(ViberApi(client).send_viber_messages, request)

    expect_same(infobip)


def expect_same(infobip):
    ours, theirs = infobip.taken
    for taken in (ours, theirs):
        taken.message["messages"][0]["destinations"][0].pop("messageId")
    assert ours.message == theirs.message
    assert ours.headers["Authorization"] == theirs.headers["Authorization"]
    assert ours.headers["Content-Type"] == theirs.headers["Content-Type"]


async def test_the_clients_models_read_the_emulators_reports(infobip, plugin, on, sms):
    await plugin.send_sms(sms())
    async with on("viber") as viber:
        await viber.send_sms(sms(idempotency_key="2"))
    text, chat = infobip.taken

    report = models.SmsDeliveryReport.from_dict(infobip.event("REJECTED_NETWORK:603", text))
    viber_report = models.ViberWebhookReport.from_dict(infobip.event("DELIVERED_TO_HANDSET", chat))
    seen = models.ViberSeenReport.from_dict(infobip.event("SEEN", chat))

    assert (report.status.group_id, report.error.name) == (5, "EC_CONTENT_BLOCKED")
    assert viber_report.callback_data == chat.id
    assert seen.message_id == chat.provider_id
