"""The verification of webhooks and the translation of their events."""

import base64
import contextlib
import json
import logging
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sendgrid.helpers.eventwebhook import EventWebhook

from gatepost.errors import BadSignature, BadWebhook, NoVerificationKey
from gatepost.model import Status, StatusEvent
from gatepost.testing.webhook_requests import replace_request, webhook_request, with_headers
from gatepost_sendgrid import reports

RECIPIENT = "canary.4711@mail.example"
MESSAGE_ID = "0b9f4d3c-8a52-4c1e-9d47-1f2e3a4b5c6d"
PROVIDER_ID = "euo2iKxdSayPF4YE4--I7A"
BASE = {
    "email": RECIPIENT,
    "timestamp": 1_700_000_000,
    "gp_id": MESSAGE_ID,
    "sg_event_id": "ZGVsaXZlcmVkLTA",
    "sg_message_id": f"{PROVIDER_ID}.recvd-5f54b5d587-pczjm-1-67BADEEA-6.0",
}


def encode(*events):
    return json.dumps(events).encode()


def translate(*events, count_machine_opens=False):
    return reports.translate(encode(*events), count_machine_opens=count_machine_opens)


STATUSES = [
    ("processed", Status.ACCEPTED, ""),
    ("deferred", Status.ACCEPTED, ""),
    ("delivered", Status.DELIVERED, ""),
    ("bounce", Status.FAILED, "bounce 550 5.1.1"),
    ("blocked", Status.FAILED, "blocked 421"),
    ("dropped", Status.REJECTED, "Bounced Address"),
    ("open", Status.OPENED, ""),
    ("spamreport", Status.COMPLAINED, ""),
    ("unsubscribe", Status.UNSUBSCRIBED, ""),
    ("group_unsubscribe", Status.UNSUBSCRIBED, ""),
]


@pytest.mark.parametrize(("kind", "status", "code"), STATUSES)
async def test_each_event_is_translated(provider, plugin, email, reported, kind, status, code):
    receipt = await plugin.send_email(email())
    report = await reported(provider.event(kind, provider.taken[0]))
    assert report.events == [
        StatusEvent(status=status, message_id=MESSAGE_ID, provider_id=receipt.provider_id, code=code)
    ]
    assert report.ignored == {}


@pytest.mark.parametrize("kind", ["click", "group_resubscribe", "machine_open"])
async def test_events_without_a_status_are_counted(provider, plugin, email, reported, kind):
    await plugin.send_email(email())
    report = await reported(provider.event(kind, provider.taken[0]))
    assert (report.events, report.ignored) == ([], {kind: 1})


async def test_machine_opens_count_if_configured(provider, running, email, signed):
    async with running(count_machine_opens=True) as plugin:
        await plugin.send_email(email())
        (body,) = provider.bodies([provider.event("machine_open", provider.taken[0])], batch=0)
        report = await plugin.parse_webhook(signed(body))
    assert [event.status for event in report.events] == [Status.OPENED]


async def test_an_event_without_our_id_has_sendgrids(provider, plugin, email, reported):
    receipt = await plugin.send_email(email())
    event = provider.event("delivered", provider.taken[0])
    del event["gp_id"]
    report = await reported(event)
    assert report.events == [StatusEvent(status=Status.DELIVERED, provider_id=receipt.provider_id)]


@pytest.mark.parametrize(
    ("sg_message_id", "provider_id"),
    [
        (f"{PROVIDER_ID}.filter0307p1mdw1.13036.5D.0", PROVIDER_ID),
        (f"{PROVIDER_ID}.recvd-5f54b5d587-pczjm-1-67BADEEA-6.0", PROVIDER_ID),
        (f"{PROVIDER_ID}.something-new.0", PROVIDER_ID),
        (PROVIDER_ID, PROVIDER_ID),
        ("14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0", "14c5d75ce93.dfd.64b469"),
        ("14c5d75ce93.dfd.64b469", "14c5d75ce93.dfd.64b469"),
        ("007", "007"),
        ("x" * 300, "x" * 255),
    ],
)
def test_sendgrids_id(sg_message_id, provider_id):
    (event,) = translate(BASE | {"event": "delivered", "gp_id": None, "sg_message_id": sg_message_id}).events
    assert (event.message_id, event.provider_id) == ("", provider_id)


@pytest.mark.parametrize(
    "fields",
    [
        {"gp_id": None, "sg_message_id": None},
        {"gp_id": "", "sg_message_id": ""},
        {"gp_id": "of-another-system", "sg_message_id": None},
        {"gp_id": MESSAGE_ID.upper(), "sg_message_id": None},
    ],
)
def test_an_event_without_an_id_is_counted(fields):
    report = translate(BASE | {"event": "open"} | fields, BASE | {"event": "delivered"})
    assert [event.status for event in report.events] == [Status.DELIVERED]
    assert report.ignored == {"no_id": 1}


def test_an_asynchronous_bounce_has_only_our_id():
    event = {"event": "bounce", "type": "bounce", "gp_id": MESSAGE_ID, "status": "5.2.2"}
    assert translate(event).events == [
        StatusEvent(status=Status.FAILED, message_id=MESSAGE_ID, code="bounce 5.2.2")
    ]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"type": "bounce", "reason": "550 5.1.1 no such user", "status": "5.1.1"}, "bounce 550 5.1.1"),
        ({"type": "blocked", "reason": "unable to get mx info"}, "blocked"),
        ({"type": "expired", "reason": "452 over quota"}, "expired 452"),
        ({"type": RECIPIENT, "reason": f"{RECIPIENT} 550", "status": RECIPIENT}, "bounce"),
        ({"reason": "5501234 a number", "status": 550}, "bounce"),
        ({"type": None, "reason": None, "status": None}, "bounce"),
        ({}, "bounce"),
    ],
)
def test_the_code_of_a_bounce(fields, code):
    assert translate(BASE | {"event": "bounce"} | fields).events[0].code == code


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("Bounced Address", "Bounced Address"),
        ("Invalid", "Invalid"),
        ("Invalid SMTPAPI header", "Invalid SMTPAPI header"),
        ("Recipient List over Package Quota", "Recipient List over Package Quota"),
        ("Spam Content", "Spam Content"),
        ("Spam Reporting Address", "Spam Reporting Address"),
        ("Unsubscribed Address", "Unsubscribed Address"),
        (" bounced address ", "Bounced Address"),
        (f"Bounced Address {RECIPIENT}", "dropped"),
        ("something new", "dropped"),
        ("", "dropped"),
        (None, "dropped"),
    ],
)
def test_the_code_of_a_drop(reason, code):
    assert translate(BASE | {"event": "dropped", "reason": reason}).events[0].code == code


@pytest.mark.parametrize("category", ["smartico", ["smartico", "bonus"], [], None, {"odd": 1}])
def test_a_category_may_have_any_type(category):
    assert len(translate(BASE | {"event": "open", "category": category}).events) == 1


def test_unknown_events_are_counted():
    report = translate(*(BASE | {"event": name} for name in ("account_status_change", RECIPIENT, "")))
    assert (report.events, report.ignored) == ([], {"unknown": 3})


BAD_ELEMENTS = [
    "a string",
    7,
    None,
    [],
    [BASE],
    {},
    {"gp_id": MESSAGE_ID},
    BASE | {"event": None},
    BASE | {"event": ["delivered"]},
    BASE | {"event": "delivered", "gp_id": 4711},
    BASE | {"event": "delivered", "sg_message_id": ["x"]},
]


@pytest.mark.parametrize("element", BAD_ELEMENTS, ids=str)
def test_a_bad_event_does_not_affect_the_others(element):
    report = translate(BASE | {"event": "delivered"}, element, BASE | {"event": "open"})
    assert [event.status for event in report.events] == [Status.DELIVERED, Status.OPENED]
    assert report.ignored == {"malformed": 1}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (rb'"reason": "550 half a character: \ud83d"', "bounce 550"),
        (b'"reason": "550 not UTF-8: \xff"', "bounce 550"),
        (b'"timestamp": 1e999', "bounce"),
        (b'"odd": ' + b"9" * 5000, "bounce"),
        (rb'"sg_message_id": "\ud83d"', "bounce"),
        (rb'"sg_message_id": "\u0000"', "bounce"),
    ],
)
def test_an_event_with_invalid_json_details_is_translated(fields, code):
    bounce = f'{{"event": "bounce", "gp_id": "{MESSAGE_ID}", '.encode() + fields + b"}"
    report = reports.translate(b"[" + bounce + b"," + encode(BASE)[1:], count_machine_opens=False)
    assert report.events == [StatusEvent(status=Status.FAILED, message_id=MESSAGE_ID, code=code)]
    assert report.ignored == {"malformed": 1}


def test_events_are_sorted_by_time_and_duplicates_stay():
    kinds = ["processed", "delivered", "open", "spamreport"]
    events = [BASE | {"event": kind, "timestamp": 1_700_000_000 + at} for at, kind in enumerate(kinds)] * 2
    random.Random(3).shuffle(events)
    statuses = [event.status for event in translate(*events).events]
    assert statuses == [
        status
        for status in (Status.ACCEPTED, Status.DELIVERED, Status.OPENED, Status.COMPLAINED)
        for _ in range(2)
    ]


def test_events_of_one_second_keep_their_order():
    kinds = ["delivered", "open", "processed", "unsubscribe"]
    assert [event.status for event in translate(*(BASE | {"event": kind} for kind in kinds)).events] == [
        Status.DELIVERED,
        Status.OPENED,
        Status.ACCEPTED,
        Status.UNSUBSCRIBED,
    ]


@pytest.mark.parametrize("timestamp", [None, "soon", 1.5e9, 10**30, -1])
def test_an_event_with_an_odd_time_is_translated(timestamp):
    assert len(translate(BASE | {"event": "open", "timestamp": timestamp}).events) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[",
        b"[{]",
        b"{}",
        b'"a string"',
        b"null",
        b'{"event": "delivered"}',
        b"[" * 200_000 + b"]" * 200_000,
        b"event=delivered&email=canary",
        b"[{}] [{}]",
    ],
)
async def test_a_body_that_is_not_a_list_of_events(plugin, signed, body):
    with pytest.raises(BadWebhook) as caught:
        await plugin.parse_webhook(signed(body))
    assert "canary" not in str(caught.value)


async def test_an_empty_list_is_accepted(plugin, signed):
    report = await plugin.parse_webhook(signed(b"[]\r\n"))
    assert (list(report.events), report.ignored) == ([], {})


async def test_a_hundred_thousand_events(plugin, signed):
    element = json.dumps(BASE | {"event": "delivered", "useragent": "x" * 100}).encode()
    elements = [element] * 100_000
    elements[50_000] = b'"a string"'
    report = await plugin.parse_webhook(signed(b"[" + b",".join(elements) + b"]"))
    assert (len(report.events), report.ignored) == (99_999, {"malformed": 1})


async def test_a_full_batch(provider, plugin, email, signed):
    await plugin.send_email(email())
    bodies = provider.bodies([provider.event("delivered", provider.taken[0]) for _ in range(3000)], batch=0)
    assert len(bodies) > 1
    assert max(len(body) for body in bodies) <= 768 * 1024
    results = [await plugin.parse_webhook(signed(body)) for body in bodies]
    assert sum(len(report.events) for report in results) == 3000


async def test_without_a_key_no_webhook_is_accepted(running, signed):
    async with running(webhook_public_key="") as plugin:
        with pytest.raises(NoVerificationKey):
            await plugin.parse_webhook(signed(encode(BASE | {"event": "delivered"})))


async def refusal(plugin, request):
    with pytest.raises(BadSignature) as caught:
        await plugin.parse_webhook(request)
    assert "canary" not in str(caught.value)
    return str(caught.value)


async def test_a_forged_signature(plugin, signed):
    assert "compare the key" in await refusal(plugin, signed(encode(BASE), forged=True))


async def test_a_signature_for_another_body_or_time(plugin, signed):
    body = encode(BASE | {"event": "delivered"})
    genuine = signed(body)
    for other in (body + b"\n", body[:-1], body.replace(b"delivered", b"bounce"), b""):
        await refusal(plugin, replace_request(genuine, body=other))
    later = {"X-Twilio-Email-Event-Webhook-Timestamp": str(int(genuine.received_at) + 5)}
    await refusal(plugin, with_headers(genuine, later))


@pytest.mark.parametrize(
    "change",
    [
        {"X-Twilio-Email-Event-Webhook-Signature": ""},
        {"X-Twilio-Email-Event-Webhook-Signature": "no base64!"},
        {"X-Twilio-Email-Event-Webhook-Signature": "ÄÖÜ"},
        {"X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(b"no DER").decode()},
        {"X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(b"\0" * 64).decode()},
        {"X-Twilio-Email-Event-Webhook-Timestamp": ""},
        {"X-Twilio-Email-Event-Webhook-Timestamp": "yesterday"},
        {"X-Twilio-Email-Event-Webhook-Timestamp": "-1"},
        {"X-Twilio-Email-Event-Webhook-Timestamp": "١٧٠٠٠٠٠٠٠٠"},
        {"X-Twilio-Email-Event-Webhook-Timestamp": "9" * 5000},
    ],
)
async def test_invalid_signature_headers(plugin, signed, change):
    body = encode(BASE | {"event": "delivered"})
    await refusal(plugin, with_headers(signed(body), change))


async def test_a_signature_with_a_suffix(plugin, signed):
    body = encode(BASE | {"event": "delivered"})
    request = signed(body)
    name = "x-twilio-email-event-webhook-signature"
    await refusal(plugin, with_headers(request, {name: f"{request.headers[name]}, !"}))


async def test_a_request_without_headers(plugin):
    assert "not signed" in await refusal(plugin, webhook_request(body=encode(BASE)))


@pytest.mark.parametrize(
    ("age", "accepted"),
    [(0, True), (25 * 3600, True), (26 * 3600, True), (26 * 3600 + 1, False), (-300, True), (-301, False)],
)
async def test_the_age_of_a_signature_is_limited(plugin, signed, age, accepted):
    request = signed([BASE | {"event": "delivered"}], at=1_700_000_000.0 + age, age=age)
    if accepted:
        assert len((await plugin.parse_webhook(request)).events) == 1
    else:
        await refusal(plugin, request)


async def test_the_sdk_accepts_the_same_signatures(provider):
    body = provider.bodies([BASE | {"event": "delivered"}], batch=0)[0]
    for forged in (False, True):
        headers = provider.sign(webhook_request(body=body), forged=forged).headers
        accepted = EventWebhook(provider.public_key).verify_signature(
            body.decode(),
            headers["x-twilio-email-event-webhook-signature"],
            headers["x-twilio-email-event-webhook-timestamp"],
        )
        assert accepted is not forged


async def test_nothing_of_the_recipient_is_logged_or_reported(
    provider, plugin, email, reported, caplog, capsys
):
    caplog.set_level(logging.DEBUG)
    await plugin.send_email(email())
    kinds = [kind for kind, _, _ in STATUSES] + ["click", "machine_open"]
    events = [provider.event(kind, provider.taken[0]) for kind in kinds] + [RECIPIENT, {"event": RECIPIENT}]
    assert RECIPIENT in encode(*events).decode()
    report = await reported(*events)
    assert len(report.events) == len(STATUSES)
    texts = "\n".join([repr(report), caplog.text, *capsys.readouterr()])
    assert "canary" not in texts
    assert "4711" not in texts


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)
FIELDS = ("event", "gp_id", "sg_message_id", "timestamp", "type", "status", "reason", "sg_machine_open")


@given(st.lists(JSON | st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, JSON)), max_size=5))
def test_a_good_event_is_found_beside_any_others(others):
    report = translate(*others, BASE | {"event": "spamreport"})
    assert Status.COMPLAINED in [event.status for event in report.events]
    assert len(report.events) + sum(report.ignored.values()) == len(others) + 1


@given(st.binary())
def test_any_bytes_are_a_report_or_a_bad_webhook(body):
    with contextlib.suppress(BadWebhook):
        reports.translate(body, count_machine_opens=False)
