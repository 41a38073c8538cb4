"""Brevo's own SDK, as an oracle: it sends the same requests, knows the same codes, and reads the emulator's answers."""

import typing

import pytest

from gatepost.model import Mailbox
from gatepost_brevo.answers import CODES

brevo = pytest.importorskip("brevo", reason="brevo-python, an oracle for developers, is not installed")
httpx = pytest.importorskip("httpx", reason="httpx, which brevo-python needs, is not installed")

KEY = "7d0c0a52-6a0f-4a3c-9d27-0f4b8d1b6f11"


@pytest.fixture
async def sdk():
    """Return the SDK's client of an emulated account."""
    async with httpx.AsyncClient(trust_env=False) as http:

        def client(account):
            return brevo.AsyncBrevo(
                api_key=account.api_key, base_url=f"{account.base_url}/v3", max_retries=0, httpx_client=http
            )

        yield client


async def test_the_sdk_sends_the_same_mail(provider, plugin, email, sdk):
    message = email(
        reply_to=Mailbox("help@brand.example", "Help"), tags=["smartico", "news"], idempotency_key=KEY
    )
    await plugin.send_email(message)

    answer = await sdk(provider).transactional_emails.send_transac_email(
        sender={"email": "news@brand.example", "name": "Brand"},
        to=[{"email": message.recipient.reveal()}],
        reply_to={"email": "help@brand.example", "name": "Help"},
        subject=message.subject,
        html_content=message.html,
        text_content=message.text,
        headers={"X-Mailin-custom": message.id, "idempotencyKey": KEY[:-1] + "2"},
        tags=["smartico", "news"],
    )

    ours, theirs = provider.taken
    theirs.message["headers"]["idempotencyKey"] = KEY
    assert ours.message == theirs.message
    assert ours.headers["api-key"] == theirs.headers["api-key"]
    assert answer.message_id == theirs.provider_id
    assert provider.requests[0] == provider.requests[1]


async def test_the_sdk_sends_the_same_text_message(texts, texting, sms, sdk):
    async with texting() as plugin:
        await plugin.send_sms(sms("Grüße", tags=["smartico"]))

    answer = await sdk(texts).transactional_sms.send_transac_sms(
        sender="Amazing",
        recipient="447700900123",
        content="Grüße",
        type="transactional",
        unicode_enabled=False,
        tag=["smartico"],
        web_url=texts.taken[0].message["webUrl"],
    )

    ours, theirs = texts.taken
    assert ours.message == theirs.message
    assert (str(answer.message_id), answer.sms_count) == (theirs.provider_id, 1)
    assert texts.requests[0] == texts.requests[1]


async def test_the_sdk_reads_the_emulated_account(provider, sdk):
    account = await sdk(provider).account.get_account()

    assert account.relay.enabled
    assert [plan.credits for plan in account.plan] == [1000.0]


async def test_the_sdk_raises_for_what_the_emulator_refuses(texts, sdk):
    texts.credits = 0.0

    with pytest.raises(brevo.PaymentRequiredError) as refusal:
        await sdk(texts).transactional_sms.send_transac_sms(sender="A", recipient="447700900123", content="x")

    assert refusal.value.body.code == "not_enough_credits"


def test_the_sdk_knows_the_same_codes():
    literal, _ = typing.get_args(brevo.BadRequestErrorBodyCode)

    # Beside them it lists sentences.
    assert {code for code in typing.get_args(literal) if code.isidentifier()} == CODES
