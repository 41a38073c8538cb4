"""Amazon SES: the kit's checks, and what is SES's and SNS's own."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog

sys.path.insert(0, str(Path(__file__).parent))

from gatepost_ses_exercise import Ses, Settings
from gatepost_ses_exercise.signature import signed_headers
from ses_emulator import SesEmulator

from gatepost.errors import BadSignature, BadWebhook, ConfigError, Rejected, Unavailable, WebhookRetry
from gatepost.hookspecs import Context
from gatepost.model import Email, Mailbox, Secret, Status
from gatepost.testing.emulator import answer
from gatepost.testing.suites import EmailSuite, LifespanSuite, PingSuite, WebhookSuite
from gatepost.testing.webhook_requests import replace_request, webhook_request

ADDRESS = "player@example.com"
ID = "0b9f4d3c-8a52-4c1e-9d47-1f2e3a4b5c6d"
PACKAGE = Path(__file__).parent / "gatepost_ses_exercise"


class TestConformance(LifespanSuite, PingSuite, EmailSuite, WebhookSuite):
    plugin = Ses
    emulator = SesEmulator


@pytest.fixture
async def provider():
    async with SesEmulator() as emulator:
        yield emulator


@pytest.fixture
async def plugin(provider):
    table = {**provider.table, "secret_access_key": Secret(provider.key_secret)}
    instance = Ses(Settings(**table), Context(name="ses", log=structlog.get_logger()))
    async with instance.lifespan():
        yield instance


def email(**other):
    fields = {
        "id": ID,
        "recipient": Secret(ADDRESS),
        "sender": Mailbox(name="Amazing", address="news@example.com"),
        "subject": "Hello",
        "html": "<p>Hello</p>",
        "text": "Hello",
        "lifetime": 600.0,
    }
    return Email(**fields | other)


@pytest.mark.parametrize(
    ("method", "path", "body", "signature"),
    [
        (
            "POST",
            "/v2/email/outbound-emails",
            b'{"Content":{}}',
            "dc01ae90276deb90084ded3a302934b7c03bbfb7249c7809fd01459160b048f8",
        ),
        (
            "GET",
            "/v2/email/account",
            b"",
            "51c031480a0ca7473e649c4a8220471d4076a937f1f4711b75832fa81c4384b5",
        ),
    ],
)
def test_a_request_is_signed_as_botocore_signs_it(method, path, body, signature):
    settings = Settings(
        access_key_id="AKIAIOSFODNN7EXAMPLE",
        secret_access_key=Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        region="eu-west-1",
    )
    headers = signed_headers(method, path, body, settings, now=datetime(2026, 11, 27, 12, 36, tzinfo=UTC))

    assert headers["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261127/eu-west-1/ses/aws4_request, "
        f"SignedHeaders=content-type;host;x-amz-date, Signature={signature}"
    )


async def test_a_mail_has_ascii_where_ses_wants_it(provider, plugin):
    sender = Mailbox(name="Łódź, " * 20 + "a", address="news@example.com")
    receipt = await plugin.send_email(email(sender=sender, subject="Привет " * 30, text="Привет"))

    [taken] = provider.taken
    got = provider.received(taken)
    assert (got.sender_name, got.subject, got.text) == (sender.name, "Привет " * 30, "Привет")
    assert receipt.provider_id == taken.provider_id


@pytest.mark.parametrize(
    "field",
    [
        {"recipient": Secret("żaba@example.com")},
        {"sender": Mailbox(name="", address="żaba@example.com")},
        {"reply_to": Mailbox(name="", address="żaba@example.com")},
    ],
)
async def test_an_address_that_ses_can_not_take_is_not_sent(provider, plugin, field):
    with pytest.raises(Rejected):
        await plugin.send_email(email(**field))

    assert provider.requests == []


@pytest.mark.parametrize(
    ("code", "outcome", "more"),
    [
        ("MessageRejected", Rejected, {}),
        ("BadRequestException", Rejected, {}),
        ("TooManyRequestsException", Unavailable, {"misconfigured": False}),
        ("ThrottlingException", Unavailable, {"misconfigured": False}),
        ("AccountSuspendedException", Unavailable, {"misconfigured": True, "content_only": False}),
        ("SendingPausedException", Unavailable, {"misconfigured": True, "content_only": False}),
        ("MailFromDomainNotVerifiedException", Unavailable, {"misconfigured": True, "content_only": True}),
        ("SignatureDoesNotMatch", Unavailable, {"misconfigured": True}),
        ("NotFoundException", Unavailable, {"misconfigured": True}),
    ],
)
async def test_an_error_decides(provider, plugin, code, outcome, more):
    provider.refusal = code
    with pytest.raises(outcome) as raised:
        await plugin.send_email(email())

    assert raised.value.code == code
    assert {name: getattr(raised.value, name) for name in more} == more


async def test_an_account_that_may_not_send_is_misconfigured(provider, plugin):
    await plugin.ping()
    provider.sending_enabled = False
    with pytest.raises(Unavailable) as raised:
        await plugin.ping()

    assert raised.value.misconfigured


async def test_a_wrong_secret_is_misconfigured(provider, plugin):
    provider.key_secret = "another"
    with pytest.raises(Unavailable) as raised:
        await plugin.ping()

    assert (raised.value.misconfigured, raised.value.code) == (True, "SignatureDoesNotMatch")


async def report_on(provider, plugin, kind="Delivery"):
    await plugin.send_email(email())
    [body] = provider.bodies([provider.event(kind, provider.taken[-1])], batch=0)
    return webhook_request(body=body)


@pytest.mark.parametrize("version", ["1", "2"])
async def test_both_versions_of_the_signature_are_verified(provider, plugin, version):
    provider.signature_version = version
    request = await report_on(provider, plugin)
    report = await plugin.parse_webhook(provider.sign(request))

    assert [event.status for event in report.events] == [Status.DELIVERED]
    with pytest.raises(BadSignature):
        await plugin.parse_webhook(provider.sign(request, forged=True))


async def test_a_bounce_has_the_codes_of_ses_and_of_the_server(provider, plugin):
    request = await report_on(provider, plugin, "Bounce:Transient:MailboxFull")
    [event] = (await plugin.parse_webhook(provider.sign(request))).events

    assert (event.code, event.message_id) == ("MailboxFull 5.1.1", ID)


@pytest.mark.parametrize("fields", [{}, {"Message": "SNS has validated the topic", "Subject": "A\nTopic"}])
async def test_a_text_that_is_no_event_is_ignored(provider, plugin, fields):
    request = provider.seal(webhook_request(), {"Type": "Notification", **fields})

    assert (await plugin.parse_webhook(request)).ignored == {"malformed": 1}


async def test_a_certificate_is_fetched_once(provider, plugin):
    request = await report_on(provider, plugin)
    for _ in range(3):
        await plugin.parse_webhook(provider.sign(request))

    assert provider.requests.count(("GET", provider.certificate)) == 1


@pytest.mark.parametrize(
    "url",
    [
        "https://sns.eu-west-1.amazonaws.com.example/SimpleNotificationService-1.pem",
        "{sns}@example.com/SimpleNotificationService-1.pem",
        "{sns}.example/SimpleNotificationService-1.pem",
        "{sns}/../SimpleNotificationService-1.pem",
        "{sns}/?Action=ConfirmSubscription&x=.pem",
        "",
    ],
)
async def test_a_certificate_of_somebody_else_is_not_fetched(provider, plugin, url):
    request = await report_on(provider, plugin)
    before = len(provider.requests)
    fields = {"Type": "Notification", "Message": "{}", "SigningCertURL": url.format(sns=provider.base_url)}
    with pytest.raises(BadSignature):
        await plugin.parse_webhook(provider.seal(request, fields))

    assert len(provider.requests) == before


async def test_a_message_of_another_topic_is_refused_before_anything_is_fetched(provider, plugin):
    fields = {"Type": "Notification", "Message": "{}", "TopicArn": f"{provider.topic_arn}2"}
    with pytest.raises(BadSignature):
        await plugin.parse_webhook(provider.seal(webhook_request(), fields))

    assert provider.requests == []


async def test_an_outage_of_sns_makes_it_try_again(provider, plugin):
    request = await report_on(provider, plugin)
    provider.plan(answer(503))
    with pytest.raises(WebhookRetry):
        await plugin.parse_webhook(provider.sign(request))

    assert (await plugin.parse_webhook(provider.sign(request))).events


async def test_a_subscription_is_confirmed(provider, plugin):
    fields = provider.confirmation()
    report = await plugin.parse_webhook(provider.seal(webhook_request(), fields))

    assert provider.confirmed == [fields["Token"]]
    assert report.ignored == {"subscription": 1}


async def test_a_forged_subscription_is_not_confirmed(provider, plugin):
    with pytest.raises(BadSignature):
        await plugin.parse_webhook(provider.seal(webhook_request(), provider.confirmation(), forged=True))

    assert provider.confirmed == []


@pytest.mark.parametrize(
    "url", ["https://example.com/?Action=ConfirmSubscription&", "{sns}/?Action=Publish&"]
)
async def test_a_subscription_is_confirmed_only_at_sns(provider, plugin, url):
    fields = provider.confirmation(SubscribeURL=url.format(sns=provider.base_url))
    with pytest.raises(BadWebhook):
        await plugin.parse_webhook(provider.seal(webhook_request(), fields))

    assert provider.requests == [("GET", provider.certificate)]


async def test_the_end_of_a_subscription_is_not_undone(provider, plugin):
    request = provider.seal(webhook_request(), provider.confirmation("UnsubscribeConfirmation"))
    report = await plugin.parse_webhook(request)

    assert report.ignored == {"unsubscription": 1}
    assert provider.confirmed == []


async def test_a_changed_field_of_a_message_is_noticed(provider, plugin):
    request = provider.sign(await report_on(provider, plugin))
    changed = request.body.replace(b'\\"Delivery\\"', b'\\"Open\\"')
    assert changed != request.body

    with pytest.raises(BadSignature):
        await plugin.parse_webhook(replace_request(request, body=changed))


def test_every_fault_of_the_settings_is_named_at_once():
    settings = Settings(
        access_key_id="short",
        secret_access_key=Secret("two words"),
        region="Ireland",
        configuration_set="a b",
        topic_arn="arn:aws:sqs:eu-west-1:123456789012:mail",
        base_url="email.example",
        sns_url="sns.example",
    )
    with pytest.raises(ConfigError) as refusal:
        Ses(settings, Context(name="ses", log=structlog.get_logger()))

    keys = {fault.key for fault in refusal.value.faults}
    assert keys == {
        *("access_key_id", "secret_access_key", "region", "configuration_set", "topic_arn"),
        *("base_url", "sns_url"),
    }


def test_sns_is_that_of_the_topic_s_region():
    topic = "arn:aws:sns:us-east-1:123456789012:mail"
    settings = Settings(
        access_key_id="A" * 20, secret_access_key=Secret("x"), region="eu-west-1", topic_arn=topic
    )

    assert settings.sns == "https://sns.us-east-1.amazonaws.com"
    assert settings.api == "https://email.eu-west-1.amazonaws.com"
