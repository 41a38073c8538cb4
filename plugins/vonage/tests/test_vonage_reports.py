"""The verification and the translation of status webhooks."""

import hashlib
import hmac
import json
import random
import uuid
from urllib.parse import urlencode

import jwt
import msgspec
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from gatepost.errors import BadSignature, BadWebhook, NoVerificationKey, WebhookError, WebhookRetry
from gatepost.model import Report, Status, StatusEvent
from gatepost.testing.report_sender import AutomaticReports, TakenMessage

MESSAGE_ID = "6a6f2c1e-8d1b-4c5e-9f57-0d9f3b1e7a10"
PROVIDER_ID = "aaaaaaaa-bbbb-4ccc-8ddd-0123456789ab"

NETWORK_OR_HANDSET = (
    *("1030", "1100", "1180", "1190", "1200", "1220", "1230", "1250", "1251", "1260", "1270"),
    *("1280", "1290", "1300", "1310", "1330", "1331", "1360"),
)
OTHERS = (
    *("1000", "1020", "1040", "1050", "1060", "1070", "1120", "1160", "1170", "1210", "1320", "1340"),
    # Of Viber and WhatsApp: a wrong template, too many messages, blocked, sender, recipient, no more for this user.
    *("1022", "1241", "1282", "1410", "1420", "1430", "1440", "1460", "1461"),
)


@pytest.fixture
def status_body(vonage):
    """Create the body of a status webhook about a message of ours."""
    taken = TakenMessage(
        id=MESSAGE_ID,
        provider_id=PROVIDER_ID,
        message={"channel": "sms", "to": "447700900123", "from": "Amazing"},
        headers={},
    )

    def event(kind, **other):
        body = vonage.event(kind, taken) | other
        return {name: value for name, value in body.items() if value is not None}

    return event


def statuses(report):
    return [event.status for event in report.events]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("submitted", [Status.ACCEPTED]),
        ("delivered", [Status.DELIVERED]),
        ("read", [Status.OPENED]),
        ("undeliverable", [Status.FAILED]),
        ("undeliverable:1260", [Status.FAILED]),
        ("rejected:1240", [Status.UNSUBSCRIBED, Status.REJECTED]),
        ("rejected", [Status.REJECTED]),
        *((f"rejected:{code}", [Status.FAILED]) for code in NETWORK_OR_HANDSET),
        *((f"rejected:{code}", [Status.REJECTED]) for code in OTHERS),
    ],
)
async def test_each_status_is_translated(plugin, request_for, status_body, kind, expected):
    report = await plugin.parse_webhook(request_for(status_body(kind)))

    code = kind.partition(":")[2]
    assert report == Report(
        events=[
            StatusEvent(status=status, message_id=MESSAGE_ID, provider_id=PROVIDER_ID, code=code)
            for status in expected
        ]
    )


@pytest.mark.parametrize("status", ["queued", "Delivered", "", "submitted ", "x" * 5000])
async def test_an_unknown_status_is_only_counted(plugin, request_for, status_body, status):
    report = await plugin.parse_webhook(request_for(status_body("delivered", status=status)))

    assert report == Report(ignored={"unknown": 1})


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        ({"type": "https://developer.vonage.com/api-errors/messages#1250", "title": 1250}, "1250", "failed"),
        ({"type": "https://developer.nexmo.com/api-errors/messages-olympus#1250"}, "1250", "failed"),
        ({"type": "https://developer.vonage.com/api-errors/messages/1250/"}, "1250", "failed"),
        ({"type": "https://developer.vonage.com/api-errors/messages", "title": "1250"}, "1250", "failed"),
        ({"type": None, "title": 1250}, "1250", "failed"),
        ({"type": "about:blank", "title": 1250.0}, "", "rejected"),
        ({"type": "https://x/#low-balance", "title": "Low balance"}, "low-balance", "rejected"),
        ({"type": "https://x/errors#447700900123", "title": "447700900123"}, "", "rejected"),
        ({"type": "https://x/447700900123/", "title": 447700900123}, "", "rejected"),
        ({"type": "to 447700900123 #1250 and more", "title": "to#a b"}, "", "rejected"),
        ({"type": "https://x/#" + "a" * 5000, "title": True}, "", "rejected"),
        ({"type": ["1250"], "title": {"1250": 1}}, "", "rejected"),
        ({"title": "-1250"}, "", "rejected"),
        ({"title": "١٢٥٠"}, "", "rejected"),
        ("1250", "", "rejected"),
        ([1250], "", "rejected"),
        # Of the older version v0.1.
        ({"code": 1300, "reason": "Not part of the provider network"}, "1300", "failed"),
        ({"code": "1300"}, "1300", "failed"),
        ({"code": 1020}, "1020", "rejected"),
        ({"code": 447700900123}, "", "rejected"),
        ({"code": True}, "", "rejected"),
        ({"code": {"1300": 1}}, "", "rejected"),
        # As the vendor's SDK for Kotlin reads it.
        (
            {"error": {"type": "https://developer.vonage.com/api-errors/messages#1300", "title": 1300}},
            "1300",
            "failed",
        ),
        ({"error": {"error": {"title": 1300}}}, "", "rejected"),
        ({"error": "1300", "title": "1300"}, "1300", "failed"),
        ({"error": ["1300"]}, "", "rejected"),
    ],
)
async def test_only_the_code_of_an_error_is_used(plugin, request_for, status_body, error, code, expected):
    report = await plugin.parse_webhook(request_for(status_body("rejected", error=error)))

    assert [(event.status, event.code) for event in report.events] == [(expected, code)]


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        ({}, (MESSAGE_ID, PROVIDER_ID)),
        ({"client_ref": None}, ("", PROVIDER_ID)),
        ({"client_ref": ""}, ("", PROVIDER_ID)),
        ({"client_ref": 7}, ("", PROVIDER_ID)),
        ({"client_ref": "a\x00b"}, ("", PROVIDER_ID)),
        ({"client_ref": "x" * 256}, ("", PROVIDER_ID)),
        ({"message_uuid": None}, (MESSAGE_ID, "")),
        ({"message_uuid": ["x"]}, (MESSAGE_ID, "")),
    ],
)
async def test_an_event_has_the_valid_ids_of_its_report(plugin, request_for, status_body, ids, found):
    body = {name: value for name, value in (status_body("read") | ids).items() if value is not None}

    [event] = (await plugin.parse_webhook(request_for(body))).events

    assert (event.message_id, event.provider_id) == found


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"status=delivered", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'"delivered"', "not a JSON object"),
        (b"null", "not a JSON object"),
        ({"message_uuid": PROVIDER_ID, "text": "STOP"}, "no status"),
        ({"message_uuid": PROVIDER_ID, "status": 7}, "no status"),
        ({"message_uuid": PROVIDER_ID, "status": ["delivered"]}, "no status"),
        ({"status": "delivered"}, "neither a client_ref nor a message_uuid"),
    ],
)
async def test_a_body_that_is_not_a_report_is_refused(plugin, request_for, body, problem):
    with pytest.raises(BadWebhook, match=problem):
        await plugin.parse_webhook(request_for(body))


async def test_without_a_signature_secret_no_webhook_is_accepted(opened, request_for, status_body):
    async with opened(signature_secret=None) as plugin:
        with pytest.raises(NoVerificationKey):
            await plugin.parse_webhook(request_for(status_body("delivered")))


async def test_an_unsigned_report_must_be_repeated(plugin, request_for, status_body):
    with pytest.raises(WebhookRetry, match="not signed"):
        await plugin.parse_webhook(request_for(status_body("delivered"), authorization=""))


async def test_a_forged_report_is_refused(plugin, request_for, status_body):
    with pytest.raises(BadSignature, match="signature secret"):
        await plugin.parse_webhook(request_for(status_body("delivered"), forged=True))


async def test_a_report_signed_for_another_body_is_refused(plugin, request_for, status_body):
    valid = request_for(status_body("delivered"))
    for body in (valid.body + b" ", b"", valid.body.replace(b"delivered", b"submitted")):
        with pytest.raises(BadSignature, match="another body"):
            await plugin.parse_webhook(msgspec.structs.replace(valid, body=body))


@pytest.mark.parametrize("age", [0, 25 * 3600, 26 * 3600 - 1, -30, -299])
async def test_an_old_retry_and_a_clock_slightly_ahead_are_accepted(
    plugin, request_for, status_body, clock, age
):
    report = await plugin.parse_webhook(request_for(status_body("read"), at=clock() - age))

    assert statuses(report) == [Status.OPENED]


@pytest.mark.parametrize("age", [26 * 3600 + 2, 365 * 86_400, -302, -86_400])
async def test_a_signature_too_old_or_too_far_ahead_is_refused(plugin, request_for, status_body, clock, age):
    with pytest.raises(BadSignature, match="older than 26 hours"):
        await plugin.parse_webhook(request_for(status_body("read"), at=clock() - age))


async def test_the_age_is_measured_at_the_time_of_arrival(plugin, request_for, status_body, clock):
    clock.now -= 10 * 365 * 86_400

    assert statuses(await plugin.parse_webhook(request_for(status_body("read")))) == [Status.OPENED]


def encoded(part):
    return jwt.utils.base64url_encode(json.dumps(part).encode())


@pytest.fixture
def request_with_token(vonage, request_for, status_body, clock):
    """Create a report with a token of other claims, another algorithm or another header."""

    def create(*, algorithm="HS256", scheme="Bearer", header=None, secret=None, **claims):
        request = request_for(status_body("read"))
        defaults = {"iat": int(clock()), "payload_hash": hashlib.sha256(request.body).hexdigest()}
        payload = {name: value for name, value in (defaults | claims).items() if value is not None}
        signed = encoded({"alg": algorithm, "typ": "JWT"} | (header or {})) + b"." + encoded(payload)
        digest = algorithm.replace("HS", "sha").replace("none", "sha256")
        mac = hmac.digest((secret or vonage.signature_secret).encode(), signed, digest)
        token = signed + b"." + (b"" if algorithm == "none" else jwt.utils.base64url_encode(mac))
        return msgspec.structs.replace(request, headers={"authorization": f"{scheme} {token.decode()}"})

    return create


@pytest.mark.parametrize(
    "claims",
    [{}, {"exp": 1}, {"nbf": 9_999_999_999}, {"aud": "x"}, {"iss": "Vonage", "api_key": "a"}, {"jti": "j"}],
)
async def test_other_claims_are_ignored(plugin, request_with_token, claims):
    assert statuses(await plugin.parse_webhook(request_with_token(**claims))) == [Status.OPENED]


async def test_a_token_with_its_time_as_text_is_accepted(plugin, request_with_token, clock):
    """RFC 7519 says a number, but the text is signed, and after a 401 Vonage would not repeat the report."""
    assert statuses(await plugin.parse_webhook(request_with_token(iat=str(int(clock()))))) == [Status.OPENED]


async def test_the_case_of_hash_and_scheme_does_not_matter(plugin, request_with_token, status_body):
    digest = hashlib.sha256(msgspec.json.encode(status_body("read"))).hexdigest().upper()

    report = await plugin.parse_webhook(request_with_token(scheme="bearer", payload_hash=digest))

    assert statuses(report) == [Status.OPENED]


@pytest.mark.parametrize("secret", ["short", "x" * 32, "y" * 64, "z" * 200, "naïve secret"])
async def test_a_secret_may_have_any_length(opened, request_with_token, secret):
    async with opened(signature_secret=secret) as plugin:
        assert statuses(await plugin.parse_webhook(request_with_token(secret=secret))) == [Status.OPENED]
        with pytest.raises(BadSignature):
            await plugin.parse_webhook(request_with_token(secret=secret + "!"))


@pytest.mark.parametrize(
    "claims",
    [
        {"payload_hash": None},
        {"payload_hash": 7},
        {"payload_hash": ""},
        {"payload_hash": "\ud800é"},
        {"iat": None},
        {"iat": "now"},
        {"iat": "1"},
        {"iat": "9" * 15},
        {"iat": "9" * 5000},
        {"iat": "-1800000000"},
        {"iat": "٧" * 10},
        {"iat": True},
        {"iat": float("nan")},
        {"iat": float("inf")},
        {"iat": 10**400},
        {"iat": []},
        {"algorithm": "HS512"},
        {"algorithm": "HS384"},
        {"algorithm": "none"},
        {"header": {"alg": "none"}},
        {"header": {"alg": ["HS256"]}},
        {"scheme": "Basic"},
        {"scheme": ""},
        {"scheme": "Bearer Bearer"},
        {"header": {"crit": ["x"], "x": 1}},
        {"header": {"b64": False}},
        {"header": {"kid": 7}},
    ],
)
async def test_an_invalid_token_is_refused(plugin, request_with_token, claims):
    with pytest.raises(BadSignature):
        await plugin.parse_webhook(request_with_token(**claims))


@given(
    token=st.one_of(
        st.text(st.characters()), st.from_regex(r"[A-Za-z0-9_\-]{0,40}(\.[A-Za-z0-9_\-]{0,40}){0,4}")
    )
)
@examples(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@example(token="\ud800")
async def test_any_invalid_authorization_is_refused(plugin, request_for, status_body, token):
    with pytest.raises((BadSignature, WebhookRetry)):
        await plugin.parse_webhook(request_for(status_body("read"), authorization=token))
    with pytest.raises(BadSignature):
        await plugin.parse_webhook(request_for(status_body("read"), authorization=f"Bearer {token}"))


async def test_a_token_with_a_deeply_nested_header_is_refused(plugin, request_for, status_body):
    deep = jwt.utils.base64url_encode(b"[" * 100_000).decode()
    with pytest.raises(BadSignature):
        await plugin.parse_webhook(request_for(status_body("read"), authorization=f"Bearer {deep}.e30.AA"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = ("status", "client_ref", "message_uuid", "error")


@given(
    body=st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, JSON))
    | st.fixed_dictionaries(
        {"status": st.just("rejected"), "message_uuid": st.just(PROVIDER_ID)},
        optional={"error": st.fixed_dictionaries({}, optional={"type": JSON, "title": JSON})},
    )
    | JSON
)
@examples(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_any_signed_body_is_a_report_or_a_bad_webhook(plugin, request_for, body):
    try:
        report = await plugin.parse_webhook(request_for(body))
    except WebhookError as refusal:
        assert type(refusal) is BadWebhook  # noqa: PT017  both outcomes are right
    else:
        assert all(event.message_id or event.provider_id for event in report.events)
        assert all(len(event.code) <= 40 for event in report.events)


RECEIPT = {"msisdn": "447700900123", "messageId": "0A00", "err-code": "0", "status": "delivered"}


@pytest.mark.parametrize(
    "shape",
    [
        {"method": "GET", "query": RECEIPT, "body": b"", "authorization": ""},
        {"method": "POST", "body": RECEIPT, "authorization": ""},
        {"method": "POST", "body": urlencode(RECEIPT).encode(), "authorization": ""},
        {"method": "POST", "body": RECEIPT},
    ],
    ids=["query", "JSON", "form", "signed"],
)
async def test_a_receipt_of_the_sms_api_is_refused_with_advice(plugin, request_for, shape):
    with pytest.raises(BadWebhook, match=r"receipt of Vonage's SMS API.*expects.*Messages API") as refusal:
        await plugin.parse_webhook(request_for(**shape))

    assert "447700900123" not in str(refusal.value)


async def test_another_method_is_refused(plugin, request_for):
    for authorization in ("", None):
        with pytest.raises(BadWebhook, match="is a POST"):
            await plugin.parse_webhook(request_for(b"", method="GET", authorization=authorization))


async def test_reports_arrive_over_http(vonage, plugin, webhook, sms):
    message = sms()
    await plugin.send_sms(message)
    [taken] = vonage.taken
    events = [vonage.event(kind, taken) for kind in ("submitted", "delivered", "read")]

    answers = await vonage.report(events, to=webhook.url, copies=2, shuffled=random.Random(7))

    assert answers == [204] * 6
    assert {event.message_id for event in webhook.events} == {message.id}
    assert {event.provider_id for event in webhook.events} == {taken.provider_id}
    assert sorted(event.status for event in webhook.events) == sorted(
        [Status.ACCEPTED, Status.DELIVERED, Status.OPENED] * 2
    )


async def test_tampered_reports_are_refused_over_http(vonage, plugin, webhook, sms):
    await plugin.send_sms(sms())
    events = [vonage.event("delivered", vonage.taken[0])]
    vonage.time_scale = 0.0

    assert await vonage.report(events, to=webhook.url, tampering="forged", tries=3) == [401]
    assert await vonage.report(events, to=webhook.url, tampering="flipped", tries=3) == [401]
    assert webhook.events == []
    # An unsigned report is answered with 503, and Vonage signs the repeat.
    assert await vonage.report(events, to=webhook.url, tampering="unsigned", tries=3) == [204]
    assert dict(vonage.webhook_answers) == {401: 2, 503: 1, 204: 1}
    assert statuses(webhook) == [Status.DELIVERED]


@pytest.mark.parametrize("before_answer", [False, True])
async def test_reports_go_to_the_webhook_url_of_the_message(vonage, opened, webhook, sms, before_answer):
    vonage.webhook_url = "http://127.0.0.1:9/elsewhere"
    vonage.automatic_reports = AutomaticReports(
        kinds=("submitted", "rejected:1240"), before_answer=before_answer
    )
    message = sms(id=str(uuid.uuid4()))
    async with opened({"webhook_url": webhook.url}) as plugin:
        await plugin.send_sms(message)
        if before_answer:
            assert len(webhook.events) == 3
        await vonage.wait_for_reports()

    assert [(event.status, event.message_id) for event in webhook.events] == [
        (Status.ACCEPTED, message.id),
        (Status.UNSUBSCRIBED, message.id),
        (Status.REJECTED, message.id),
    ]
