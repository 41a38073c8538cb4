"""The plugin sends the same request as the SDK's own client."""

import asyncio

import jwt
import pytest
import requests
from vonage_http_client import Auth, HttpClient, HttpClientOptions
from vonage_messages import Messages, Sms
from vonage_messages.models import (
    SmsOptions,
    ViberText,
    ViberTextOptions,
    WhatsappTemplate,
    WhatsappTemplateResource,
    WhatsappTemplateSettings,
)

WEBHOOK_URL = "https://gatepost.example/webhooks/v"


@pytest.fixture
def sdk_sends(vonage, monkeypatch):
    """Send with the SDK's client, with its hard-coded https:// replaced by http://."""
    original = requests.Session.request

    def without_tls(self, method, url, **other):
        return original(self, method, url.replace("https://", "http://", 1), **other)

    monkeypatch.setattr(requests.Session, "request", without_tls)

    def send(request):
        client = HttpClient(
            Auth(application_id=vonage.application_id, private_key=vonage.private_key),
            HttpClientOptions(api_host=vonage.base_url.removeprefix("http://")),
        )
        try:
            return Messages(client).send(request).message_uuid
        finally:
            client._session.close()

    async def in_thread(request):
        return await asyncio.to_thread(send, request)

    return in_thread


def common(message):
    return {
        "to": "447700900123",
        "client_ref": message.id,
        "webhook_url": WEBHOOK_URL,
        "webhook_version": "v1",
    }


def claims_of(taken):
    scheme, _, token = taken.headers["Authorization"].partition(" ")
    return scheme, jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})


@pytest.mark.parametrize(
    ("text", "encoding"), [("Hello {you}, 5 €", "text"), ('Привет "you" \\ \n 👋', "unicode")]
)
async def test_the_request_is_the_same_as_the_sdks(vonage, opened, sms, sdk_sends, clock, text, encoding):
    clock.now += 5  # the SDK has its own clock, and its token must not be from the future
    message = sms(text, sender="+447700900999")
    async with opened({"webhook_url": WEBHOOK_URL}) as plugin:
        receipt = await plugin.send_sms(message)
    uuid = await sdk_sends(
        Sms(
            from_="447700900999",
            text=text,
            ttl=3_600,
            sms=SmsOptions(encoding_type=encoding),
            **common(message),
        )
    )

    ours, theirs = vonage.taken
    assert (ours.provider_id, theirs.provider_id) == (receipt.provider_id, uuid)
    assert ours.message == theirs.message
    for header in ("Content-Type", "Accept"):
        assert ours.headers[header] == theirs.headers[header]
    (scheme, header, claims), (their_scheme, their_header, their_claims) = map(claims_of, vonage.taken)
    assert (scheme, header) == (their_scheme, their_header)
    assert claims.keys() == their_claims.keys()
    assert claims["application_id"] == their_claims["application_id"]


@pytest.mark.parametrize("category", ["transaction", "promotion"])
async def test_the_request_of_a_viber_message_is_the_same_as_the_sdks(
    vonage, opened, sms, sdk_sends, clock, category
):
    clock.now += 5
    message = sms('Привет "you" \\ \n 👋')
    async with opened({"webhook_url": WEBHOOK_URL}, channel="viber", category=category) as plugin:
        await plugin.send_sms(message)
    await sdk_sends(
        ViberText(
            from_="Amazing Casino",
            text=message.text,
            viber_service=ViberTextOptions(category=category, ttl=3_600),
            **common(message),
        )
    )

    ours, theirs = vonage.taken
    assert ours.message == theirs.message


async def test_the_request_of_a_whatsapp_message_is_the_same_as_the_sdks(
    vonage, opened, sms, sdk_sends, clock
):
    clock.now += 5
    message = sms('Привет "you" \\ 👋')
    async with opened({"webhook_url": WEBHOOK_URL}, channel="whatsapp") as plugin:
        await plugin.send_sms(message)
    await sdk_sends(
        WhatsappTemplate(
            from_="447700900999",
            template=WhatsappTemplateResource(name="news", parameters=[message.text]),
            whatsapp=WhatsappTemplateSettings(policy="deterministic", locale="en-GB"),
            **common(message),
        )
    )

    ours, theirs = vonage.taken
    assert ours.message == theirs.message
