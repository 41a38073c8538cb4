"""The verification of webhooks and the translation of their events."""

import contextlib
import hmac
import json
import logging
import time
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import BadSignature, BadWebhook, NoVerificationKey
from gatepost.model import Secret, Status, StatusEvent
from gatepost.testing.webhook_requests import replace_request, webhook_request, with_headers
from gatepost_mailgun import Settings, reports
from gatepost_mailgun.testing import events

RECIPIENT = "canary.4711@mail.example"
MESSAGE_ID = "0b9f4d3c-8a52-4c1e-9d47-1f2e3a4b5c6d"
PROVIDER_ID = "20260203192638.000be97f99f8cea1"
DOMAIN = "mg.brand.example"
SETTINGS = Settings(api_key=Secret("key"), domain=DOMAIN, webhook_signing_key=Secret("signing-key"))
BASE = {
    "recipient": RECIPIENT,
    "domain": {"name": DOMAIN},
    "message": {"headers": {"message-id": f"{PROVIDER_ID}@{DOMAIN}", "to": RECIPIENT}},
    "user-variables": {"gp_id": MESSAGE_ID},
}


def signature(key="signing-key", *, timestamp=None, token="t" * 50):
    timestamp = str(int(time.time())) if timestamp is None else timestamp
    digest = hmac.digest(key.encode(), f"{timestamp}{token}".encode(), "sha256").hex()
    return {"timestamp": timestamp, "token": token, "signature": digest}


def translate(data, **own):
    body = {"signature": signature(), "event-data": data} | own
    return reports.read_report(webhook_request(body=json.dumps(body).encode()), SETTINGS)


CODES = {
    "temporary_fail": "generic 451 4.7.652",
    "permanent_fail": "bounce 550 5.1.1",
    "suppress-bounce": "suppress-bounce 605",
    "suppress-unsubscribe": "suppress-unsubscribe 606",
    "suppress-complaint": "suppress-complaint 607",
}


@pytest.mark.parametrize("kind", events.MEANINGS)
async def test_each_kind_is_translated(provider, plugin, email, reported, kind):
    receipt = await plugin.send_email(email())
    report = await reported(provider.event(kind, provider.taken[0]))
    about_users = {Status.COMPLAINED, Status.UNSUBSCRIBED}
    assert list(report.events) == [
        StatusEvent(
            status=status,
            message_id=MESSAGE_ID,
            provider_id=receipt.provider_id,
            recipient=Secret(RECIPIENT) if status in about_users else None,
            code=CODES.get(kind, ""),
        )
        for status in events.MEANINGS[kind]
    ]
    assert report.ignored == ({} if report.events else {kind: 1})
    assert report.answer is None


async def test_machine_opens_count_if_configured(provider, running, email, signed):
    async with running(count_machine_opens=True) as plugin:
        await plugin.send_email(email())
        (body,) = provider.bodies([provider.event("machine_open", provider.taken[0])], batch=0)
        report = await plugin.parse_webhook(signed(body))
    assert [event.status for event in report.events] == [Status.OPENED]


@pytest.mark.parametrize(
    ("bot", "counted"), [("", True), (None, True), ("apple", False), ("gmail", False), ("generic", False)]
)
def test_an_open_by_each_kind_of_machine(bot, counted):
    report = translate(BASE | {"event": "opened", "client-info": {"bot": bot}})
    assert (len(report.events), report.ignored) == ((1, {}) if counted else (0, {"machine_open": 1}))


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (
            {"reason": "bounce", "delivery-status": {"code": 550, "enhanced-code": "5.1.1"}},
            "bounce 550 5.1.1",
        ),
        ({"reason": "old", "delivery-status": {"code": 602}}, "old 602"),
        ({"reason": "espblock", "delivery-status": {"code": "421", "enhanced-code": ""}}, "espblock 421"),
        ({"reason": RECIPIENT, "delivery-status": {"code": RECIPIENT}}, "failed"),
        ({"reason": "generic", "delivery-status": {"code": 5501234}}, "generic"),
        ({"reason": None, "delivery-status": {"code": 550, "enhanced-code": RECIPIENT}}, "failed 550"),
        (
            {"reason": "bounce", "delivery-status": {"code": 550, "enhanced-code": "5.1.1234567"}},
            "bounce 550",
        ),
        ({"reason": ["bounce"], "delivery-status": "550"}, "failed"),
        ({}, "failed"),
    ],
)
def test_the_code_of_a_failure(fields, code):
    report = translate(BASE | {"event": "failed", "severity": "permanent"} | fields)
    assert [(event.status, event.code) for event in report.events] == [(Status.FAILED, code)]


@pytest.mark.parametrize(
    "fields",
    [
        {"event": "list_member_uploaded"},
        {"event": RECIPIENT},
        {"event": None},
        {"event": ["delivered"]},
        {},
        {"event": "failed"},
        {"event": "failed", "severity": "delivered"},
        {"event": "failed", "severity": "something new", "reason": "bounce"},
        {"event": "permanent"},
        {"event": "suppress-bounce"},
    ],
)
def test_unknown_events_are_counted(fields):
    report = translate(BASE | fields)
    assert (list(report.events), report.ignored) == ([], {"unknown": 1})


def test_an_opt_out_of_another_systems_mail_names_the_user():
    data = BASE | {"event": "unsubscribed", "user-variables": [], "tags": ["news"]}
    assert list(translate(data).events) == [
        StatusEvent(status=Status.UNSUBSCRIBED, provider_id=PROVIDER_ID, recipient=Secret(RECIPIENT))
    ]


def test_an_event_of_another_domain():
    other = {"event": "unsubscribed", "domain": {"name": "other.example"}}
    report = translate(BASE | other | {"user-variables": {}})
    assert (list(report.events), report.ignored) == ([], {"other_domain": 1})
    # With our id it is about a mail of another instance, whose webhook leads here, or of another Gatepost, whose user
    # may be one of ours: the address alone must not decide.
    assert list(translate(BASE | other).events) == [
        StatusEvent(status=Status.UNSUBSCRIBED, message_id=MESSAGE_ID, provider_id=PROVIDER_ID)
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"user-variables": {}, "message": {}},
        {"user-variables": None, "message": None},
        {"user-variables": [], "message": {"headers": []}},
        {"user-variables": {"gp_id": "of-another-system"}, "message": {"headers": {"message-id": "a b@c"}}},
        {"user-variables": {"gp_id": MESSAGE_ID.upper()}, "message": {"headers": {"message-id": 7}}},
    ],
)
def test_an_event_without_an_id_is_counted(fields):
    report = translate(BASE | {"event": "delivered"} | fields)
    assert (list(report.events), report.ignored) == ([], {"no_id": 1})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"{",
        b"[]",
        b'"a string"',
        b"null",
        b"[" * 100_000 + b"]" * 100_000,
        b'[{"event-data": {"event": "delivered", "recipient": "canary@mail.example"}}]',
    ],
)
async def test_a_body_that_is_no_webhook_of_mailgun(plugin, signed, body):
    with pytest.raises(BadWebhook) as caught:
        await plugin.parse_webhook(signed(body))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("data", [None, [], "delivered", 7])
async def test_what_can_never_be_read_is_not_repeated(plugin, signed, data):
    report = await plugin.parse_webhook(signed({"event-data": data}))
    assert (list(report.events), report.ignored) == ([], {"malformed": 1})
    assert report.answer.status == 406


async def test_a_legacy_webhook_is_explained(plugin, provider):
    fields = {"event": "delivered", "recipient": RECIPIENT, "domain": DOMAIN, "gp_id": MESSAGE_ID}
    body = urlencode(fields | signature(provider.signing_key)).encode()
    for content_type in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        request = webhook_request(body=body, headers={"Content-Type": content_type})
        with pytest.raises(BadWebhook, match="legacy webhook") as caught:
            await plugin.parse_webhook(request)
        assert "canary" not in str(caught.value)


async def test_without_a_key_no_webhook_is_accepted(make_plugin, table, signed):
    plugin = make_plugin(**{**table, "webhook_signing_key": None})
    with pytest.raises(NoVerificationKey, match="webhook_signing_key"):
        await plugin.parse_webhook(signed({"event-data": BASE}))


async def test_a_webhook_of_another_account_is_refused(plugin, signed):
    with pytest.raises(BadSignature):
        await plugin.parse_webhook(signed({"event-data": BASE | {"event": "delivered"}}, forged=True))


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        [],
        "signature",
        {"timestamp": "1", "token": "t"},
        {"timestamp": None, "token": "t", "signature": "s"},
        signature() | {"token": "another"},
        signature() | {"timestamp": "1700000000"},
        signature() | {"signature": "ÄÖÜ"},
        signature() | {"signature": ""},
        signature() | {"token": ["t"]},
        signature(timestamp="yesterday"),
        signature(timestamp="-1"),
        signature(timestamp=""),
        signature(timestamp="١٧٠٠٠٠٠٠٠٠"),
        signature(timestamp="9" * 5000),
        signature(key="another account's"),
    ],
)
def test_a_wrong_signature(wrong):
    with pytest.raises(BadSignature) as caught:
        translate(BASE | {"event": "delivered"}, signature=wrong)
    assert "canary" not in str(caught.value)


def test_a_timestamp_may_be_a_number():
    now = int(time.time())
    assert len(translate(BASE | {"event": "delivered"}, signature=signature(timestamp=now)).events) == 1


@pytest.mark.parametrize(
    ("age", "accepted"),
    [(0, True), (8 * 3600, True), (26 * 3600, True), (26 * 3600 + 1, False), (-300, True), (-301, False)],
)
async def test_the_age_of_a_signature_is_limited(plugin, signed, age, accepted):
    request = signed({"event-data": BASE | {"event": "delivered"}}, at=1_700_000_000.0 + age, age=age)
    if accepted:
        assert len((await plugin.parse_webhook(request)).events) == 1
    else:
        with pytest.raises(BadSignature):
            await plugin.parse_webhook(request)


async def test_the_signature_covers_no_event(plugin, signed):
    # As Mailgun has it; the page about it says so. A replay says what was said before.
    request = signed({"event-data": BASE | {"event": "delivered"}})
    assert await plugin.parse_webhook(request) == await plugin.parse_webhook(request)
    changed = replace_request(request, body=request.body.replace(b"delivered", b"opened"))
    assert [event.status for event in (await plugin.parse_webhook(changed)).events] == [Status.OPENED]


async def test_headers_do_not_matter(plugin, signed):
    request = with_headers(
        signed({"event-data": BASE | {"event": "delivered"}}), {"Content-Type": "text/plain"}
    )
    assert len((await plugin.parse_webhook(request)).events) == 1


async def test_nothing_of_the_recipient_is_logged_or_reported(
    provider, plugin, email, reported, caplog, capsys
):
    caplog.set_level(logging.DEBUG)
    await plugin.send_email(email())
    texts = []
    for kind in events.MEANINGS:
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
    *("severity", "reason", "recipient", "domain", "message", "user-variables"),
    *("delivery-status", "client-info"),
)


@given(
    st.fixed_dictionaries(
        {"event": st.sampled_from(["failed", "opened", "delivered", "complained", "unsubscribed"]) | JSON},
        optional=dict.fromkeys(FIELDS, JSON),
    )
)
def test_any_fields_are_events_or_counted(data):
    report = translate(data)
    assert 1 <= len(report.events) + sum(report.ignored.values()) <= 2


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_refused(body):
    with contextlib.suppress(BadWebhook, BadSignature):
        reports.read_report(webhook_request(body=body), SETTINGS)
        raise AssertionError("unsigned bytes were accepted")
