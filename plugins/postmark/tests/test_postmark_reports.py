"""The check of webhooks and the translation of what they say."""

import contextlib
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost import wire
from gatepost.errors import BadSignature, BadWebhook, NoVerificationKey
from gatepost.model import Secret, Status, StatusEvent
from gatepost.testing.webhook_requests import webhook_request, with_headers
from gatepost_postmark import reports
from gatepost_postmark.testing import webhook_bodies

RECIPIENT = "canary.4711@mail.example"
MESSAGE_ID = "0b9f4d3c-8a52-4c1e-9d47-1f2e3a4b5c6d"
PROVIDER_ID = "883953f4-6105-42a2-a16a-77a8eac79483"
BASE = {
    "MessageStream": "outbound",
    "MessageID": PROVIDER_ID,
    "Metadata": {"gp_id": MESSAGE_ID},
    "Tag": "brand, news",
    "Recipient": RECIPIENT,
    "Email": RECIPIENT,
}
LOGIN = wire.Login(username="postmark", password=Secret("password"))
LOGIN_HEADERS = wire.basic_auth("postmark", Secret("password"))


def translate(body):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return reports.read_report(webhook_request(body=raw, headers=LOGIN_HEADERS), LOGIN, stream="outbound")


def bounce(kind, **fields):
    return BASE | {"RecordType": "Bounce", "Type": kind, "Description": RECIPIENT} | fields


def change(**fields):
    return BASE | {"RecordType": "SubscriptionChange"} | fields


CODES = {
    "HardBounce": "HardBounce 550 5.1.1",
    "SoftBounce": "SoftBounce 452 4.2.2",
    "unsubscribed": "ManualSuppression",
    "complaint_suppression": "SpamComplaint",
    **dict.fromkeys(("Delivery", "Open", "SpamComplaint"), ""),
}


@pytest.mark.parametrize("kind", webhook_bodies.MEANINGS)
async def test_each_kind_is_translated(provider, plugin, email, reported, kind):
    receipt = await plugin.send_email(email())
    report = await reported(provider.event(kind, provider.taken[0]))
    about_the_user = kind in {"unsubscribed", "complaint_suppression"}
    assert list(report.events) == [
        StatusEvent(
            status=status,
            message_id=MESSAGE_ID,
            provider_id=receipt.provider_id,
            recipient=Secret(RECIPIENT) if about_the_user else None,
            code=CODES.get(kind, kind),
        )
        for status in webhook_bodies.MEANINGS[kind]
    ]
    assert sum(report.ignored.values()) == (not report.events)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (bounce("SomethingNew"), "unknown"),
        (bounce(None), "unknown"),
        (bounce(["HardBounce"]), "unknown"),
        (BASE | {"RecordType": "SomethingNew"}, "unknown"),
        (BASE | {"RecordType": RECIPIENT}, "unknown"),
        (BASE | {"RecordType": "Inbound"}, "inbound"),
        (BASE | {"RecordType": "Click"}, "click"),
        (bounce("AutoResponder"), "reply"),
        (change(SuppressSending=True, SuppressionReason="HardBounce", Origin="Recipient"), "suppressed"),
        (change(SuppressSending=True, SuppressionReason="SomethingNew", Origin="Recipient"), "suppressed"),
        (change(SuppressSending=True, SuppressionReason="ManualSuppression", Origin="Admin"), "suppressed"),
        (change(SuppressSending=True, SuppressionReason="ManualSuppression"), "suppressed"),
        (change(SuppressSending=True, SuppressionReason=None, Origin=None), "suppressed"),
        (change(SuppressSending=False, SuppressionReason=None), "reactivated"),
        (change(SuppressSending="yes"), "unknown"),
        (change(SuppressSending=True, Recipient=None), "unknown"),
    ],
)
def test_what_has_no_status_is_counted(body, kind):
    report = translate(body)
    assert (list(report.events), report.ignored) == ([], {kind: 1})


def test_an_opt_out_that_names_no_mail_names_the_user():
    body = change(
        SuppressSending=True,
        SuppressionReason="ManualSuppression",
        Origin="Recipient",
        MessageID=None,
        Metadata={},
        Tag=None,
    )
    assert list(translate(body).events) == [
        StatusEvent(status=Status.UNSUBSCRIBED, recipient=Secret(RECIPIENT), code="ManualSuppression")
    ]


@pytest.mark.parametrize(("stream", "found"), [("outbound", True), ("newsletter", False), (None, False)])
def test_an_opt_out_of_another_stream_is_none_of_this_one(stream, found):
    reason = {"SuppressSending": True, "SuppressionReason": "ManualSuppression", "Origin": "Recipient"}
    report = translate(change(**reason, MessageStream=stream, MessageID=None, Metadata={}))
    assert (len(report.events), report.ignored) == ((1, {}) if found else (0, {"no_id": 1}))


@pytest.mark.parametrize(
    ("details", "code"),
    [
        ("smtp;550 5.1.1 no such user", "Blocked 550 5.1.1"),
        ("smtp; 550-5.7.1 not wanted", "Blocked 550 5.7.1"),
        ("421 try again", "Blocked 421"),
        ("5501234 a number", "Blocked"),
        (f"{RECIPIENT} 550", "Blocked"),
        ("", "Blocked"),
        (None, "Blocked"),
        (550, "Blocked 550"),
        ([550], "Blocked"),
    ],
)
def test_the_code_of_a_bounce(details, code):
    assert translate(bounce("Blocked", Details=details)).events[0].code == code


@pytest.mark.parametrize(
    "fields",
    [
        {"Metadata": {}, "MessageID": ""},
        {"Metadata": None, "MessageID": None},
        {"Metadata": {"gp_id": "of-another-system"}, "MessageID": "with a space"},
        {"Metadata": {"gp_id": MESSAGE_ID.upper()}, "MessageID": 7},
        {"Metadata": ["gp_id"], "MessageID": RECIPIENT * 20},
    ],
)
def test_an_event_without_an_id_is_counted(fields):
    report = translate(BASE | {"RecordType": "Delivery"} | fields)
    assert (list(report.events), report.ignored) == ([], {"no_id": 1})


def test_a_mail_of_another_system_has_postmarks_id():
    report = translate(BASE | {"RecordType": "Open", "Metadata": {"color": "blue"}})
    assert list(report.events) == [StatusEvent(status=Status.OPENED, provider_id=PROVIDER_ID)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"{",
        b"[]",
        b'"a string"',
        b"null",
        b"{}",
        b"[" * 100_000 + b"]" * 100_000,
        b"RecordType=Delivery&Email=canary",
        b'[{"RecordType": "Delivery"}]',
        b'{"RecordType": 7}',
        b'{"RecordType": null, "Email": "canary.4711@mail.example"}',
        # As before there were record types, of a delivery and of a bounce.
        b'{"ServerId": 23, "MessageID": "x", "Recipient": "canary@mail.example", "DeliveredAt": "2014-08-01"}',
        b'{"ID": 42, "Type": "HardBounce", "Email": "canary@mail.example"}',
    ],
)
async def test_a_body_that_is_no_webhook_of_postmark(plugin, signed, body):
    with pytest.raises(BadWebhook) as caught:
        await plugin.parse_webhook(signed(body))
    assert "canary" not in str(caught.value)


async def test_without_a_login_no_webhook_is_accepted(make_plugin, table, signed):
    own = {key: value for key, value in table.items() if key != "webhook_basic"}
    plugin = make_plugin(**own, webhook_basic=None)
    with pytest.raises(NoVerificationKey, match="webhook_basic"):
        await plugin.parse_webhook(signed(BASE | {"RecordType": "Delivery"}))


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic !",
        "Basic cG9zdG1hcms6",
        "Bearer x",
        "ÄÖÜ",
        "x" * 10_000,
        "Basic cG9zdG1hcms6cGFzc3dvcmQ=",
    ],
)
async def test_a_wrong_login_is_refused(plugin, signed, authorization):
    request = with_headers(signed(BASE | {"RecordType": "Delivery"}), {"Authorization": authorization})
    with pytest.raises(BadSignature) as caught:
        await plugin.parse_webhook(request)
    assert "canary" not in str(caught.value)


async def test_a_webhook_without_a_login_is_refused(plugin, signed):
    for request in (webhook_request(body=b"{}"), signed(BASE, forged=True)):
        with pytest.raises(BadSignature, match="password"):
            await plugin.parse_webhook(request)


async def test_a_repeated_webhook_says_the_same(plugin, signed):
    request = signed(BASE | {"RecordType": "Delivery"})
    assert await plugin.parse_webhook(request) == await plugin.parse_webhook(request)


async def test_nothing_of_the_recipient_is_logged_or_reported(
    provider, plugin, email, reported, caplog, capsys
):
    caplog.set_level(logging.DEBUG)
    await plugin.send_email(email())
    texts = []
    for kind in webhook_bodies.MEANINGS:
        event = provider.event(kind, provider.taken[0])
        assert RECIPIENT in json.dumps(event)
        texts.append(repr(await reported(event)))
    output = "\n".join([*texts, caplog.text, *capsys.readouterr()])
    assert "canary" not in output
    assert "4711" not in output


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)
FIELDS = (
    *("MessageID", "Metadata", "Type", "Details", "Recipient"),
    *("SuppressSending", "SuppressionReason", "Origin", "FromFull"),
)
RECORD_TYPES = st.sampled_from(["Bounce", "Delivery", "Open", "Click", "SpamComplaint", "SubscriptionChange"])


@given(st.fixed_dictionaries({"RecordType": RECORD_TYPES}, optional=dict.fromkeys(FIELDS, JSON)))
def test_any_fields_are_an_event_or_counted(body):
    report = translate(body)
    assert len(report.events) + sum(report.ignored.values()) == 1


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_report_or_a_bad_webhook(body):
    with contextlib.suppress(BadWebhook):
        translate(body)
