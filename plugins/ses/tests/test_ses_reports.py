"""Messages of the topic: the events in them, their signatures, certificates, and the subscription."""

import json
import logging
import time

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import BadSignature, BadWebhook, NoVerificationKey, WebhookRetry
from gatepost.model import Status, StatusEvent
from gatepost.testing import emulator
from gatepost.testing.webhook_requests import replace_request, webhook_request
from gatepost_ses.events import read_event
from gatepost_ses.testing import SesEmulator

RECIPIENT = "canary.4711@mail.example"
MAIL = {"mail": {"messageId": "0102-1", "tags": {"gp_id": ["our-id"]}, "destination": [RECIPIENT]}}

CODES = {
    "Bounce:Permanent:General": "General 5.1.1",
    "Bounce:Permanent:NoEmail": "NoEmail 5.1.1",
    "Bounce:Permanent:Suppressed": "Suppressed 5.1.1",
    "Bounce:Permanent:OnAccountSuppressionList": "OnAccountSuppressionList 5.1.1",
    "Bounce:Transient:General": "General 4.2.2",
    "Bounce:Transient:MailboxFull": "MailboxFull 4.2.2",
    "Bounce:Undetermined:Undetermined": "Undetermined 5.0.0",
    "v1:Bounce:Permanent:General": "General 5.1.1",
}
COUNTED = {
    "Bounce:Transient:General:reply": "automatic_reply",
    "Complaint:not-spam": "not_spam",
    "Complaint:auth-failure": "auth_failure",
    "Click": "click",
    "Subscription:none": "preferences",
}


@pytest.mark.parametrize("kind", SesEmulator.meanings)
async def test_each_event_is_translated(provider, plugin, email, reported, kind):
    message = email()
    receipt = await plugin.send_email(message)
    report = await reported(provider.event(kind, provider.taken[0]))
    assert [event.status for event in report.events] == SesEmulator.meanings[kind]
    assert report.ignored == ({COUNTED[kind]: 1} if kind in COUNTED else {})
    for event in report.events:
        assert event.message_id == ("" if kind.startswith("v1:") else message.id)
        assert event.provider_id == receipt.provider_id
        assert event.code == CODES.get(kind, "")


@pytest.mark.parametrize(
    ("kind", "subtypes", "statuses"),
    [
        ("Permanent", ["General", "NoEmail"], [Status.FAILED]),
        (
            "Permanent",
            [
                "Suppressed",
                "OnAccountSuppressionList",
                "OnTenantSuppressionList",
                "EmailValidationSuppressed",
            ],
            [Status.REJECTED],
        ),
        (
            "Transient",
            [
                "MailboxFull",
                "MessageTooLarge",
                "CustomTimeoutExceeded",
                "ContentRejected",
                "AttachmentRejected",
                "OfTomorrow",
            ],
            [Status.FAILED],
        ),
        ("Undetermined", ["Undetermined"], [Status.FAILED]),
    ],
)
def test_every_subtype_of_a_bounce(kind, subtypes, statuses):
    for subtype in subtypes:
        bounce = {"bounceType": kind, "bounceSubType": subtype, "bouncedRecipients": [{}]}
        report = read_event(json.dumps({"eventType": "Bounce", **MAIL, "bounce": bounce}))
        assert [event.status for event in report.events] == statuses
        assert {event.code for event in report.events} == {subtype}


@pytest.mark.parametrize("kind", ["abuse", "fraud", "other", "virus", None, "of-tomorrow"])
def test_every_kind_of_a_complaint(kind):
    complaint = {"complaintFeedbackType": kind, "complaintSubType": None}
    report = read_event(json.dumps({"eventType": "Complaint", **MAIL, "complaint": complaint}))
    assert report.events == [StatusEvent(status=Status.COMPLAINED, message_id="our-id", provider_id="0102-1")]


@pytest.mark.parametrize("status", [RECIPIENT, "john.smith", "5.1.1 " + RECIPIENT, "9.9.9", 511, None])
def test_a_status_that_is_none_is_not_passed_on(status):
    bounce = {"bounceSubType": "NoEmail", "bouncedRecipients": [{"status": status, "action": "failed"}]}
    [event] = read_event(json.dumps({"eventType": "Bounce", **MAIL, "bounce": bounce})).events
    assert event.code == "NoEmail"


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        ("Successfully validated SNS topic for Amazon SES event publishing.", "topic_test"),
        ('{"notificationType": "AmazonSnsSubscriptionSucceeded", "message": "You have…"}', "topic_test"),
        ("", "malformed"),
        ("{", "malformed"),
        ("[]", "malformed"),
        ("null", "malformed"),
        ('{"a":' * 5000, "malformed"),
        ("{}", "unknown"),
        ('{"eventType": ["Send"]}', "unknown"),
        ('{"eventType": "Of tomorrow", "mail": {"messageId": "1"}}', "unknown"),
        ('{"eventType": "Delivery"}', "no_id"),
        ('{"eventType": "Delivery", "mail": 7}', "no_id"),
        ('{"eventType": "Delivery", "mail": {"messageId": 7, "tags": {"gp_id": "x"}}}', "no_id"),
    ],
)
async def test_a_text_that_is_no_event_is_counted(provider, plugin, text, counted):
    request = provider.request_with(webhook_request(), {"Type": "Notification", "Message": text})
    report = await plugin.parse_webhook(request)
    assert (list(report.events), report.ignored) == ([], {counted: 1})


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@given(
    kind=st.sampled_from(["Bounce", "Complaint", "Subscription", "Send", "Delivery", "DeliveryDelay"]),
    part=st.sampled_from(["bounce", "complaint", "subscription", "mail", "eventType", "deliveryDelay"]),
    field=st.sampled_from(
        [
            "bounceType",
            "bounceSubType",
            "bouncedRecipients",
            "complaintSubType",
            "newTopicPreferences",
            "tags",
        ]
    ),
    value=json_values,
)
def test_an_event_of_another_form_breaks_nothing(kind, part, field, value):
    for content in (value, {field: value}):
        report = read_event(json.dumps({"eventType": kind, **MAIL, part: content}))
        assert len(report.events) + sum(report.ignored.values()) >= 1


@pytest.mark.parametrize("version", ["1", "2"])
async def test_both_versions_of_the_signature_are_verified(provider, plugin, email, reported, version):
    provider.topic.signature_version = version
    await plugin.send_email(email())
    event = provider.event("Delivery", provider.taken[0])
    assert [one.status for one in (await reported(event)).events] == [Status.DELIVERED]
    with pytest.raises(BadSignature):
        await reported(event, forged=True)


@pytest.mark.parametrize("version", ["", "0", "3", "SHA1"])
async def test_another_version_of_the_signature_is_refused(provider, plugin, version):
    fields = {"Type": "Notification", "Message": "{}", "SignatureVersion": version}
    with pytest.raises(BadSignature):
        await plugin.parse_webhook(provider.request_with(webhook_request(), fields))


@pytest.mark.parametrize(
    "name",
    ["Message", "MessageId", "Subject", "Timestamp", "Signature", "SigningCertURL", "SignatureVersion"],
)
async def test_every_part_of_a_message_is_signed(provider, plugin, name):
    fields = {"Type": "Notification", "Message": "{}", "Subject": "Amazon SES"}
    request = provider.request_with(webhook_request(), fields)
    await plugin.parse_webhook(request)
    message = json.loads(request.body)
    for changed in (
        {**message, name: message[name] + "x"},
        {**message, name: None},
        {**message, "Token": "x"},
    ):
        with pytest.raises(BadSignature):
            await plugin.parse_webhook(replace_request(request, body=msgspec.json.encode(changed)))


@pytest.mark.parametrize(("age", "good"), [(0, True), (25 * 3600, True), (27 * 3600, False), (-3600, False)])
async def test_the_age_of_a_message(provider, plugin, email, reported, age, good):
    await plugin.send_email(email())
    event = provider.event("Delivery", provider.taken[0])
    if good:
        assert (await reported(event, age=age)).events
    else:
        with pytest.raises(BadSignature):
            await reported(event, age=age)


async def test_a_message_of_another_topic_is_refused_before_anything_is_fetched(provider, plugin):
    for arn in (f"{provider.topic.arn}2", "arn:aws:sns:eu-west-1:999999999999:mail", ""):
        fields = {"Type": "Notification", "Message": "{}", "TopicArn": arn}
        with pytest.raises(BadSignature, match="topic_arn"):
            await plugin.parse_webhook(provider.request_with(webhook_request(), fields))
    for kind in ("SubscriptionConfirmation", "UnsubscribeConfirmation"):
        fields = {**provider.topic.subscription(kind), "TopicArn": f"{provider.topic.arn}2"}
        with pytest.raises(BadSignature):
            await plugin.parse_webhook(provider.request_with(webhook_request(), fields))
    assert provider.requests == []


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", BadWebhook),
        (b"{", BadWebhook),
        (b"[]", BadWebhook),
        (b"\xff", BadWebhook),
        (b'"Notification"', BadWebhook),
        (b"{}", BadSignature),
        # Raw message delivery: the event without its envelope.
        (json.dumps({"eventType": "Delivery", **MAIL}).encode(), BadSignature),
        (b'{"Type": ["Notification"]}', BadSignature),
    ],
)
async def test_a_body_that_is_no_message(provider, plugin, body, error):
    with pytest.raises(error):
        await plugin.parse_webhook(webhook_request(body=body))
    assert provider.requests == []


async def test_a_message_larger_than_sns_has_is_refused(provider, plugin):
    fields = {"Type": "Notification", "Message": "x" * 600_000}
    with pytest.raises(BadWebhook):
        await plugin.parse_webhook(provider.request_with(webhook_request(), fields))


async def test_the_largest_message_is_read(provider, plugin, email, reported):
    await plugin.send_email(email())
    event = {**provider.event("Delivery", provider.taken[0]), "filler": "x" * 250_000}
    assert (await reported(event)).events


async def test_a_message_of_an_unknown_type(provider, plugin):
    with pytest.raises(BadSignature):
        await plugin.parse_webhook(provider.request_with(webhook_request(), {"Type": "OfTomorrow"}))


async def test_without_a_topic_no_report_is_taken(provider, running):
    async with running(topic_arn=None) as plugin:
        with pytest.raises(NoVerificationKey):
            await plugin.parse_webhook(webhook_request(body=b"{}"))


def certificates(provider):
    return [path for method, path in provider.requests if path.startswith("/SimpleNotificationService")]


async def test_a_certificate_is_fetched_once(provider, plugin, email, reported):
    await plugin.send_email(email())
    for _ in range(30):
        await reported(provider.event("Delivery", provider.taken[0]))
    assert len(certificates(provider)) == 1


@pytest.mark.parametrize(
    "url",
    [
        "https://sns.eu-west-1.amazonaws.com.example/SimpleNotificationService-1.pem",
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem",
        "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem",
        "https://sns.eu-west-1.amazonaws.com@mail.example/SimpleNotificationService-1.pem",
        "https://sns.eu-west-1.amazonaws.com/../SimpleNotificationService-1.pem",
        "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&x=.pem",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem?x",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-" + "1" * 65 + ".pem",
        "{emulator}/SimpleNotificationService-1.pem",
        "/SimpleNotificationService-1.pem",
        "",
    ],
)
async def test_a_certificate_of_somebody_else_is_not_fetched(provider, plugin, url):
    where = url.format(emulator=provider.base_url)
    fields = {"Type": "Notification", "Message": "{}", "SigningCertURL": where}
    with pytest.raises(BadSignature):
        await plugin.parse_webhook(provider.request_with(webhook_request(), fields))
    assert provider.requests == []


async def test_forgeries_can_not_make_it_ask_sns_more_than_ten_times_a_minute(
    provider, plugin, email, reported, set_ahead
):
    await plugin.send_email(email())
    event = provider.event("Delivery", provider.taken[0])
    assert (await reported(event)).events
    for number in range(30):
        where = f"{provider.topic.url}/SimpleNotificationService-{number}.pem"
        fields = {"Type": "Notification", "Message": "{}", "SigningCertURL": where}
        with pytest.raises(WebhookRetry):
            await plugin.parse_webhook(provider.request_with(webhook_request(), fields))
    assert len(certificates(provider)) == 10
    # The topic's own messages are not affected, because their certificate is kept.
    assert (await reported(event)).events
    set_ahead(61)
    with pytest.raises(WebhookRetry):
        await plugin.parse_webhook(provider.request_with(webhook_request(), fields))
    assert len(certificates(provider)) == 11


def other_certificate():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sns.amazonaws.com")])
    template = x509.load_pem_x509_certificate(SesEmulator().topic.certificate())
    start, end = template.not_valid_before_utc, template.not_valid_after_utc
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, start, end)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", other_certificate],
)
async def test_what_is_no_certificate_of_sns_is_not_kept(
    provider, plugin, email, reported, monkeypatch, content
):
    await plugin.send_email(email())
    event = provider.event("Delivery", provider.taken[0])
    with monkeypatch.context() as patch:
        patch.setattr(provider.topic, "certificate", content if callable(content) else lambda: content)
        with pytest.raises(BadSignature):
            await reported(event)
    assert (await reported(event)).events


async def test_an_endless_certificate_is_not_read_to_its_end(provider, plugin, reported, email, monkeypatch):
    await plugin.send_email(email())
    genuine = provider.topic.certificate()
    monkeypatch.setattr(provider.topic, "certificate", lambda: b" " * 5_000_000 + genuine)
    with pytest.raises(BadSignature):
        await reported(provider.event("Delivery", provider.taken[0]))


@pytest.mark.parametrize("fault", [emulator.answer(503), emulator.answer(404), emulator.close_before_body()])
async def test_an_outage_of_sns_makes_it_try_again(provider, plugin, email, reported, fault):
    await plugin.send_email(email())
    event = provider.event("Delivery", provider.taken[0])
    provider.sns_failure = fault
    with pytest.raises(WebhookRetry):
        await reported(event)
    provider.sns_failure = emulator.NO_FAILURE
    assert (await reported(event)).events


async def test_a_redirect_of_sns_is_not_followed(provider, plugin, email, reported):
    await plugin.send_email(email())
    provider.sns_failure = emulator.answer(302, {"Location": f"{provider.base_url}/elsewhere.pem"})
    with pytest.raises(WebhookRetry):
        await reported(provider.event("Delivery", provider.taken[0]))
    assert ("GET", "/elsewhere.pem") not in provider.requests


async def test_a_subscription_is_confirmed(provider, plugin):
    fields = provider.topic.subscription()
    report = await plugin.parse_webhook(provider.request_with(webhook_request(), fields))
    assert provider.topic.confirmed == [fields["Token"]]
    assert report.ignored == {"subscriptionconfirmation": 1}


async def test_a_forged_subscription_is_not_confirmed(provider, plugin):
    request = provider.request_with(webhook_request(), provider.topic.subscription(), forged=True)
    with pytest.raises(BadSignature):
        await plugin.parse_webhook(request)
    assert provider.topic.confirmed == []


async def test_a_subscription_is_confirmed_at_sns_whatever_its_url_says(provider, plugin):
    fields = {**provider.topic.subscription(), "SubscribeURL": f"{provider.base_url}/?Action=Publish"}
    await plugin.parse_webhook(provider.request_with(webhook_request(), fields))
    assert provider.topic.confirmed == [fields["Token"]]
    assert [path for _, path in provider.requests] == [provider.topic.certificate_path, "/"]


async def test_a_token_can_not_change_the_request(provider, plugin):
    fields = {**provider.topic.subscription(), "Token": "x&Action=Publish#?/"}
    await plugin.parse_webhook(provider.request_with(webhook_request(), fields))
    assert provider.topic.confirmed == ["x&Action=Publish#?/"]


async def test_sns_is_asked_to_confirm_again_after_an_outage(provider, plugin):
    end = provider.topic.subscription("UnsubscribeConfirmation")
    await plugin.parse_webhook(provider.request_with(webhook_request(), end))
    request = provider.request_with(webhook_request(), provider.topic.subscription())
    provider.sns_failure = emulator.answer(500)
    with pytest.raises(WebhookRetry):
        await plugin.parse_webhook(request)
    provider.sns_failure = emulator.NO_FAILURE
    await plugin.parse_webhook(request)
    assert len(provider.topic.confirmed) == 1


async def test_the_end_of_a_subscription_is_told_and_not_undone(provider, plugin, core):
    fields = provider.topic.subscription("UnsubscribeConfirmation")
    report = await plugin.parse_webhook(provider.request_with(webhook_request(), fields))
    assert report.ignored == {"unsubscribeconfirmation": 1}
    assert "ses_subscription_ended" in str(core.logged)
    assert provider.topic.confirmed == []


async def test_a_topic_in_another_region_has_its_own_sns(provider, running, email, signed):
    provider.topic = type(provider.topic)("us-gov-west-1")
    provider.topic.arn = "arn:aws-us-gov:sns:us-gov-west-1:123456789012:mail"
    async with running(topic_arn=provider.topic.arn) as plugin:
        await plugin.send_email(email())
        [body] = provider.bodies([provider.event("Delivery", provider.taken[0])], batch=0)
        assert (await plugin.parse_webhook(signed(body))).events


async def test_nothing_of_a_report_is_logged(provider, plugin, email, reported, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    await plugin.send_email(email())
    caplog.clear()
    texts = [repr(await reported(provider.event(kind, provider.taken[0]))) for kind in SesEmulator.meanings]
    assert RECIPIENT not in "\n".join([*texts, caplog.text, *capsys.readouterr()])


async def test_a_report_that_sns_repeats_is_read_again(provider, plugin, email, signed):
    await plugin.send_email(email())
    [body] = provider.bodies([provider.event("Delivery", provider.taken[0])], batch=0)
    request = signed(body, at=time.time())
    assert await plugin.parse_webhook(request) == await plugin.parse_webhook(request)
