"""The sends on Viber and WhatsApp: their requests, and what these channels can't carry."""

import pytest

from gatepost.errors import Rejected
from gatepost.model import Receipt, Secret


async def test_a_viber_message_is_sent_from_the_instances_own_sender(vonage, viber, sms):
    message = sms("Hello\n👋", sender="+447700900111")

    receipt = await viber.send_sms(message)

    [taken] = vonage.taken
    assert receipt == Receipt(taken.provider_id)
    assert taken.message == {
        "message_type": "text",
        "channel": "viber_service",
        "to": "447700900123",
        "from": "Amazing Casino",
        "text": "Hello\n👋",
        "client_ref": message.id,
        "webhook_version": "v1",
        "viber_service": {"category": "transaction", "ttl": 3_600},
    }


async def test_a_whatsapp_message_is_the_template_with_the_text_as_its_one_parameter(vonage, whatsapp, sms):
    message = sms("Your code is 1234", sender="Amazing")

    receipt = await whatsapp.send_sms(message)

    [taken] = vonage.taken
    assert receipt == Receipt(taken.provider_id)
    assert taken.message == {
        "message_type": "template",
        "channel": "whatsapp",
        "to": "447700900123",
        "from": "447700900999",
        "template": {"name": "news", "parameters": ["Your code is 1234"]},
        "whatsapp": {"policy": "deterministic", "locale": "en-GB"},
        "client_ref": message.id,
        "webhook_version": "v1",
    }


@pytest.mark.parametrize("channel", ["viber", "whatsapp"])
async def test_the_request_names_the_webhook_url_if_it_is_known(vonage, opened, sms, channel):
    async with opened({"webhook_url": "https://gatepost.example/webhooks/v"}, channel=channel) as plugin:
        await plugin.send_sms(sms())

    assert vonage.taken[0].message["webhook_url"] == "https://gatepost.example/webhooks/v"


async def test_the_category_of_a_viber_instance_is_that_of_its_messages(vonage, opened, sms):
    async with opened(channel="viber", category="promotion") as plugin:
        await plugin.send_sms(sms())

    assert vonage.taken[0].message["viber_service"]["category"] == "promotion"


@pytest.mark.parametrize(
    ("lifetime", "ttl"), [(0.5, 30), (30.0, 30), (90.9, 90), (259_200.0, 259_200), (10_000_000.0, 259_200)]
)
async def test_the_time_to_live_is_within_vibers_limits(vonage, viber, sms, lifetime, ttl):
    await viber.send_sms(sms(lifetime=lifetime))

    assert vonage.taken[0].message["viber_service"]["ttl"] == ttl


@pytest.mark.parametrize(
    "template",
    [
        {"name": "aaaa_1111:news_2", "language": "pt_BR"},
        {"name": "n" * 512, "language": "fil"},
        {"name": "0", "language": "zh-Hant"},
    ],
)
async def test_a_template_is_sent_as_configured(vonage, opened, sms, template):
    async with opened(channel="whatsapp", template=template) as plugin:
        await plugin.send_sms(sms())

    [taken] = vonage.taken
    assert taken.message["template"]["name"] == template["name"]
    assert taken.message["whatsapp"]["locale"] == template["language"]


@pytest.mark.parametrize("character", ["x", "ж", "😀"])
async def test_the_longest_text_of_each_channel_is_sent(vonage, viber, whatsapp, sms, character):
    await viber.send_sms(sms(character * 1000))
    await whatsapp.send_sms(sms(character * 1024))

    assert vonage.refused == []
    assert len(vonage.taken) == 2


@pytest.mark.parametrize(
    ("channel", "text", "reason", "code"),
    [
        ("viber", "x" * 1001, "the text is longer than the 1,000 characters", "1020"),
        ("viber", "\ud800", r"text \(string_unicode\)", "1020"),
        ("whatsapp", "x" * 1025, "the text is longer than the 1,024 characters", "1022"),
        ("whatsapp", "Hello\nthere", "no line break, no tab and no more than 4 spaces in a row", "1022"),
        ("whatsapp", "Hello\rthere", "no line break", "1022"),
        ("whatsapp", "Hello\n", "no line break", "1022"),
        ("whatsapp", "\tHello", "no tab", "1022"),
        ("whatsapp", "Hello     there", "no more than 4 spaces", "1022"),
        ("whatsapp", "\ud800", "must be valid Unicode", "1022"),
    ],
)
async def test_what_a_channel_cannot_carry_is_rejected_without_a_request(
    vonage, opened, sms, channel, text, reason, code
):
    async with opened(channel=channel) as plugin:
        with pytest.raises(Rejected, match=reason) as refusal:
            await plugin.send_sms(sms(text))

    assert refusal.value.code == code
    assert text not in str(refusal.value)
    # The model's own error holds the whole message.
    assert refusal.value.__context__ is None
    assert vonage.requests == []


async def test_four_spaces_in_a_row_are_allowed_in_a_template(vonage, whatsapp, sms):
    await whatsapp.send_sms(sms("Hello    there    you"))

    assert len(vonage.taken) == 1


@pytest.mark.parametrize("channel", ["viber", "whatsapp"])
async def test_an_invalid_number_is_rejected_without_a_request(vonage, opened, sms, channel):
    async with opened(channel=channel) as plugin:
        with pytest.raises(Rejected, match="the recipient's number") as refusal:
            await plugin.send_sms(sms(recipient=Secret("+44770")))

    assert refusal.value.code == "1430"
    assert vonage.requests == []


@pytest.mark.parametrize("channel", ["sms", "viber", "whatsapp"])
async def test_the_reports_of_each_channel_are_read(vonage, opened, sms, request_for, channel):
    async with opened(channel=channel) as plugin:
        await plugin.send_sms(sms())
        [taken] = vonage.taken
        found = [
            event.status
            for kind in ("submitted", "delivered", "read", "rejected:1300")
            for event in (await plugin.parse_webhook(request_for(vonage.event(kind, taken)))).events
        ]

    assert found == ["accepted", "delivered", "opened", "failed"]
