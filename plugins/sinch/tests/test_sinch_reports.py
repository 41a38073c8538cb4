"""The callbacks: their signature, and what they mean."""

import hmac
from base64 import b64encode

import msgspec
import pytest

from gatepost.errors import BadSignature, BadWebhook, NoVerificationKey
from gatepost.model import Secret, Status
from gatepost.testing.report_sender import AutomaticReports
from gatepost.testing.webhook_requests import replace_request, webhook_request, with_headers, without_header
from gatepost.wire import basic_auth
from gatepost_sinch.testing import SinchEmulator

SIGNATURE = "x-sinch-webhook-signature"

# What Sinch's documentation lists: each status, and each code of its own with the status that has it.
STATUSES = {
    *("Queued", "Dispatched", "Aborted", "Cancelled", "Rejected", "Deleted", "Delivered", "Failed"),
    *("Expired", "Unknown"),
}
ABORTED = {
    402: Status.REJECTED,  # unroutable
    403: Status.FAILED,  # internal error
    404: Status.FAILED,  # temporary failure
    405: Status.REJECTED,  # unmatched parameter
    406: Status.FAILED,  # expired before it was sent
    407: Status.REJECTED,  # cancelled
    408: Status.REJECTED,  # rejected by the operator
    410: Status.REJECTED,  # no default sender
    411: Status.REJECTED,  # too many parts
    412: Status.REJECTED,  # a region that the account may not send to
    413: Status.REJECTED,  # blocked
    **dict.fromkeys(range(414, 419), Status.REJECTED),  # of multimedia messages
}


@pytest.fixture
async def taken(provider, plugin, sms):
    await plugin.send_sms(sms())
    return provider.taken[0]


def test_every_documented_status_is_emulated():
    assert {kind.partition(":")[0] for kind in SinchEmulator.meanings} == STATUSES | {"inbound"}


@pytest.mark.parametrize("kind", SinchEmulator.meanings)
@pytest.mark.parametrize("spell", [str, str.upper])
async def test_each_callback(provider, taken, reported, kind, spell):
    event = provider.event(kind, taken)
    report = await reported({**event, "status": spell(event.get("status", ""))})

    assert [event.status for event in report.events] == SinchEmulator.meanings[kind]
    assert all(event.message_id == taken.id for event in report.events)
    # On a message that is on its way Sinch's code is no reason: 401 means that it was dispatched.
    assert all(event.status in {Status.FAILED, Status.REJECTED} for event in report.events if event.code)
    assert sum(report.ignored.values()) == (not report.events)


@pytest.mark.parametrize(("code", "status"), ABORTED.items())
async def test_the_code_says_whether_an_aborted_message_was_tried(provider, taken, reported, code, status):
    report = await reported(provider.event(f"Aborted:{code}", taken))

    [event] = report.events
    assert (event.status, event.code, event.provider_id) == (status, str(code), taken.provider_id)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (0, ""),
        (1, "1"),
        (999, "999"),
        (1000, ""),
        (-1, ""),
        (True, ""),
        ("402", ""),
        (4.5, ""),
        ([], ""),
        (None, ""),
    ],
)
async def test_only_sinchs_codes_pass(provider, taken, reported, code, expected):
    [event] = (await reported({**provider.event("Failed", taken), "code": code})).events

    assert (event.status, event.code) == (Status.FAILED, expected)


async def test_a_report_on_the_whole_batch_is_read_too(provider, taken, reported):
    report = await reported(
        {
            "type": "delivery_report_sms",
            "batch_id": taken.provider_id,
            "client_reference": taken.id,
            "total_message_count": 2,
            "statuses": [
                {"code": 0, "count": 1, "status": "Delivered", "recipients": ["447700900123"]},
                {"code": 404, "count": 1, "status": "Aborted", "type": []},
                7,
            ],
        }
    )

    assert [event.status for event in report.events] == [Status.DELIVERED, Status.FAILED]
    assert {(event.message_id, event.provider_id) for event in report.events} == {
        (taken.id, taken.provider_id)
    }
    assert report.ignored == {"malformed": 1}


@pytest.mark.parametrize("text", ["STOP", " stop\n", "Unsubscribe", "Arret", "Stop.", "STOP!"])
@pytest.mark.parametrize("number", ["447700900123", "+447700900123"])
async def test_a_stop_unsubscribes_the_user_by_the_number(provider, taken, reported, text, number):
    event = {**provider.event(f"inbound:{text}", taken), "from": number}
    del event["client_reference"]

    [unsubscribed] = (await reported(event)).events

    assert unsubscribed.status is Status.UNSUBSCRIBED
    assert unsubscribed.recipient == Secret("+447700900123")
    assert (unsubscribed.message_id, unsubscribed.provider_id) == ("", "")


@pytest.mark.parametrize("number", [None, 447_700_900_123, "60606", "Amazing", "٤٤٧٧٠٠٩٠٠١٢٣", "1" * 16])
async def test_a_stop_from_nobody_is_counted(provider, taken, reported, number):
    event = {**provider.event("inbound:STOP", taken), "from": number, "client_reference": None}

    assert (await reported(event)).ignored == {"no_id": 1}


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"body": "Please don't stop"}, "inbound"),
        ({"body": None}, "inbound"),
        ({"type": "mo_binary"}, "inbound"),
        ({"type": "mo_media", "body": {"message": "STOP"}}, "inbound"),
        ({"type": "brand_new"}, "unknown"),
    ],
)
async def test_any_other_answer_is_counted(provider, taken, reported, changes, kind):
    report = await reported({**provider.event("inbound:STOP", taken), **changes})

    assert (report.events, report.ignored) == ([], {kind: 1})


@pytest.mark.parametrize("status", ["Brand new", "", None, 7, [], {}])
async def test_a_new_status_is_counted(provider, taken, reported, status):
    report = await reported({**provider.event("Delivered", taken), "status": status})

    assert report.ignored == {"unknown": 1}


@pytest.mark.parametrize("field", ["client_reference", "batch_id", "at", "recipient", "operator_status_at"])
@pytest.mark.parametrize("value", [None, 7, True, [], {"a": 1}, "x" * 300, "a b"])
async def test_a_field_of_another_type_loses_no_report_that_has_an_id(
    provider, taken, reported, field, value
):
    [event] = (await reported({**provider.event("Delivered", taken), field: value})).events

    assert event.message_id == taken.id or event.provider_id == taken.provider_id


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"\xff", b"null", b"7", b"[]", b"{}", b"[[[[", b"type=mo_text"),
        msgspec.json.encode({"type": 7}),
        msgspec.json.encode({"app_id": "a", "message_delivery_report": {"status": "DELIVERED"}}),
        msgspec.json.encode([{"type": "mo_text"}]),
    ],
)
async def test_what_is_no_callback_of_the_sms_api_is_refused(plugin, signed, body):
    with pytest.raises(BadWebhook):
        await plugin.parse_webhook(signed(body))


@pytest.mark.parametrize(
    ("header", "value"),
    [
        (SIGNATURE, ""),
        (SIGNATURE, "AAAA"),
        (SIGNATURE, "ä"),
        (f"{SIGNATURE}-nonce", ""),
        (f"{SIGNATURE}-nonce", "other"),
        (f"{SIGNATURE}-nonce", "a.b"),
        (f"{SIGNATURE}-timestamp", ""),
        (f"{SIGNATURE}-timestamp", "1"),
        (f"{SIGNATURE}-timestamp", "now"),
        (f"{SIGNATURE}-timestamp", "٣"),
        (f"{SIGNATURE}-timestamp", "9" * 5000),
    ],
)
async def test_another_signature_is_refused(provider, plugin, taken, signed, header, value):
    genuine = signed(provider.event("Delivered", taken))
    forged = with_headers(genuine, {header: value}) if value else without_header(genuine, header)

    with pytest.raises(BadSignature):
        await plugin.parse_webhook(forged)


@pytest.mark.parametrize("at", ["", "now", "-1", "1.5", "²"])
async def test_a_time_that_is_no_number_of_seconds_is_refused_whoever_signs_it(provider, plugin, signed, at):
    genuine = signed({"type": "mo_text"})
    nonce = genuine.headers[f"{SIGNATURE}-nonce"]
    content = genuine.body + f".{nonce}.{at}".encode()
    signature = b64encode(hmac.digest(provider.webhook_secret.encode(), content, "sha256")).decode()

    with pytest.raises(BadSignature, match="not a number of seconds"):
        await plugin.parse_webhook(
            with_headers(genuine, {SIGNATURE: signature, f"{SIGNATURE}-timestamp": at})
        )


async def test_the_end_of_a_body_can_not_become_the_nonce(provider, plugin, signed):
    genuine = signed(b'{"type": "mo_text"} .x')
    nonce = genuine.headers[f"{SIGNATURE}-nonce"]
    cut = replace_request(genuine, body=b'{"type": "mo_text"} ')

    with pytest.raises(BadSignature):
        await plugin.parse_webhook(with_headers(cut, {f"{SIGNATURE}-nonce": f"x.{nonce}"}))


@pytest.mark.parametrize(("age", "accepted"), [(25 * 3600, True), (27 * 3600, False), (-3600, False)])
async def test_a_signature_has_an_age(provider, plugin, taken, signed, age, accepted):
    request = signed(provider.event("Delivered", taken), age=age)

    if accepted:
        assert (await plugin.parse_webhook(request)).events
    else:
        with pytest.raises(BadSignature, match="older than 26 hours, or from the future"):
            await plugin.parse_webhook(request)


async def test_a_callback_of_another_service_plan_is_refused(provider, plugin, taken, signed):
    with pytest.raises(BadSignature, match="not by this instance's secret"):
        await plugin.parse_webhook(signed(provider.event("Delivered", taken), forged=True))


async def test_a_user_name_and_a_password_can_stand_for_the_signature(provider, running, taken):
    body = msgspec.json.encode(provider.event("Delivered", taken))
    login = {"username": "sinch", "password": "sesame"}
    async with running(webhook_secret=None, webhook_basic=login) as plugin:
        genuine = with_headers(webhook_request(body=body), basic_auth("sinch", Secret("sesame")))
        assert (await plugin.parse_webhook(genuine)).events
        for request in (
            provider.sign(webhook_request(body=body)),
            with_headers(genuine, basic_auth("sinch", Secret("open"))),
        ):
            with pytest.raises(BadSignature, match="user name or the password"):
                await plugin.parse_webhook(request)


async def test_without_a_secret_no_callback_is_accepted(running, signed):
    async with running(webhook_secret=None) as plugin:
        with pytest.raises(NoVerificationKey, match="webhook_secret or webhook_basic"):
            await plugin.parse_webhook(signed({"type": "mo_text"}))


async def test_the_reports_on_a_message_come_to_its_callback_url(provider, plugin, sms, monkeypatch):
    sent = []

    async def post(request):
        sent.append(request)
        return 204

    monkeypatch.setattr(provider, "_post", post)
    provider.automatic_reports = AutomaticReports(kinds=["Dispatched", "Delivered"])
    await plugin.send_sms(sms())
    await provider.wait_for_reports()

    reports = [await plugin.parse_webhook(request) for request in sent]
    assert [event.status for report in reports for event in report.events] == [
        Status.ACCEPTED,
        Status.DELIVERED,
    ]


@pytest.mark.parametrize(
    ("status", "repeats"), [(0, True), (429, True), (500, True), (401, False), (404, False)]
)
async def test_sinch_repeats_a_callback_after_429_and_5xx(provider, plugin, status, repeats):
    assert provider.tries_again(status) is repeats
    assert provider.tries_again(getattr(plugin, "retry_status", 503))
