"""The plugin sends the same requests as Twilio's own SDK, and believes the same signatures."""

import asyncio
import random
from urllib.parse import urlencode, urlsplit

import pytest

from gatepost.errors import BadSignature
from gatepost.testing.fixtures import MESSAGE_ID, SMS_RECIPIENT
from gatepost.testing.webhook_requests import WEBHOOK_URL, webhook_request

rest = pytest.importorskip("twilio.rest", reason="needs Twilio's SDK, a development dependency")
http_client = pytest.importorskip("twilio.http.http_client")
request_validator = pytest.importorskip("twilio.request_validator")

CALLBACK = f"{WEBHOOK_URL}?id={MESSAGE_ID}#rc=5&rp=all"


@pytest.fixture
def sdk_sends(twilio):
    """Send with the SDK's client, which is led to the emulator."""

    class ToTheEmulator(http_client.TwilioHttpClient):
        def request(self, method, url, *args, **options):
            parts = urlsplit(url)
            assert (parts.scheme, parts.netloc) == ("https", "api.twilio.com")
            return super().request(method, twilio.base_url + parts.path, *args, **options)

    def send(fields):
        client = rest.Client(
            twilio.api_key_sid, twilio.api_key_secret, twilio.account_sid, http_client=ToTheEmulator()
        )
        try:
            return client.messages.create(**fields)
        finally:
            client.http_client.session.close()

    async def in_thread(**fields):
        return await asyncio.to_thread(send, fields)

    return in_thread


@pytest.mark.parametrize("text", ["Hello {you}, 5 € & 50 %", 'Привет "you" \\ \n 👋'])
async def test_the_request_is_the_same_as_the_sdks(twilio, plugin, sms, sdk_sends, text):
    receipt = await plugin.send_sms(sms(text))
    message = await sdk_sends(
        to=SMS_RECIPIENT, from_="Amazing", body=text, validity_period=3600, status_callback=CALLBACK
    )

    ours, theirs = twilio.taken
    assert ours.message == theirs.message
    for header in ("Authorization", "Content-Type"):
        assert ours.headers[header] == theirs.headers[header]
    assert (receipt.provider_id, message.sid) == (ours.provider_id, theirs.provider_id)
    assert str(receipt.parts) == message.num_segments


async def test_the_request_of_a_template_is_the_same_as_the_sdks(twilio, running, whatsapp, sms, sdk_sends):
    async with running(**whatsapp, messaging_service="MG" + "a" * 32) as plugin:
        await plugin.send_sms(sms("Hello ж"))
    await sdk_sends(
        to=f"whatsapp:{SMS_RECIPIENT}",
        from_="whatsapp:+447700900999",
        messaging_service_sid="MG" + "a" * 32,
        content_sid=twilio.template,
        content_variables=twilio.taken[0].message["ContentVariables"],
        validity_period=3600,
        status_callback=CALLBACK,
    )

    ours, theirs = twilio.taken
    assert ours.message == theirs.message


async def test_the_sdk_reads_the_emulators_errors_as_ours(twilio, sdk_sends):
    exceptions = pytest.importorskip("twilio.base.exceptions")
    with pytest.raises(exceptions.TwilioRestException) as raised:
        await sdk_sends(to="+15005550004", from_="Amazing", body="Hello")

    assert (raised.value.status, raised.value.code) == (400, 21610)


URLS = [
    "https://gw.example/webhooks/t",
    "https://gw.example/webhooks/t?id=1",
    "https://gw.example:8443/webhooks/t?id=%2B1&b=",
    "https://gw.example:443/webhooks/t?id=%2B1&b=",
    "http://127.0.0.1:8080/webhooks/t?id=1",
]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("signed_url", URLS)
async def test_the_same_signatures_are_good_as_for_the_sdk(twilio, make_plugin, url, signed_url):
    plugin, chance = make_plugin(), random.Random(url + signed_url)
    for _ in range(20):
        fields = {
            "".join(chance.choices("AaZz09_", k=4)): "".join(
                chance.choices("aZ +&=ж😀\n'", k=chance.randint(0, 6))
            )
            for _ in range(chance.randint(0, 6))
        }
        fields["MessageStatus"] = "teleported"
        signer = request_validator.RequestValidator(
            chance.choice([twilio.auth_token, twilio.auth_token, "x"])
        )
        signature = signer.compute_signature(signed_url, fields)
        request = webhook_request(url, urlencode(fields).encode(), headers={"X-Twilio-Signature": signature})
        expected = request_validator.RequestValidator(twilio.auth_token).validate(url, fields, signature)

        assert await accepted(plugin, request) is expected


async def test_the_emulators_signature_is_good_for_the_sdk(twilio, signed):
    fields = {"MessageStatus": "sent", "Body": "a +b", "A": "", "id": MESSAGE_ID}
    request = signed(urlencode(fields).encode())
    del fields["id"]
    validator = request_validator.RequestValidator(twilio.auth_token)

    assert validator.validate(request.url, fields, request.headers["x-twilio-signature"])


async def accepted(plugin, request):
    try:
        report = await plugin.parse_webhook(request)
    except BadSignature:
        return False
    return report.ignored == {"unknown": 1}
