"""The check of webhooks, and the translation of what they report."""

import msgspec
import pytest

from gatepost.errors import BadSignature, BadWebhook, NoVerificationKey
from gatepost.model import Report, Secret, Status, StatusEvent
from gatepost.testing.report_sender import TakenMessage
from gatepost.testing.webhook_requests import webhook_request, with_headers
from gatepost.wire import basic_auth
from gatepost_infobip.testing.codes import STATUSES

OURS = "6a6f2c1e-8d1b-4c5e-9f57-0d9f3b1e7a10"
THEIRS = f"{OURS}.{OURS}-1"
USER, NUMBER = "447700900123", Secret("+447700900123")
URL = "https://gateway.example/webhooks/infobip"
LOGIN = {"username": "infobip", "password": "swordfish"}


@pytest.fixture
def taken():
    message = {
        "sender": "Amazing",
        "destinations": [{"to": USER, "messageId": THEIRS}],
        "content": {"text": "x"},
    }
    return TakenMessage(id=OURS, provider_id=THEIRS, message={"messages": [message]}, headers={})


@pytest.fixture
def whatsapp_taken():
    message = {"from": "447700900999", "to": USER, "messageId": THEIRS, "content": {}}
    return TakenMessage(id=OURS, provider_id=THEIRS, message={"messages": [message]}, headers={})


@pytest.fixture
def read(plugin, signed):
    """Let the plugin read a body, or one result, as Infobip posts it."""

    async def report(*results, body=None):
        report = await plugin.parse_webhook(signed({"results": list(results)} if body is None else body))
        return msgspec.structs.replace(report, events=list(report.events))

    return report


def counted(kinds):
    """A report that means no status."""
    return Report(events=[], ignored=kinds)


def event(status, code="", **ids):
    return StatusEvent(status=status, code=code, **({"message_id": OURS, "provider_id": THEIRS} | ids))


def opted_out(**fields):
    return StatusEvent(status=Status.UNSUBSCRIBED, **fields)


EXPECTED = {"PENDING": "accepted", "UNDELIVERABLE": "failed", "DELIVERED": "delivered", "EXPIRED": "failed"}


@pytest.mark.parametrize("name", STATUSES)
async def test_each_status_is_translated_by_its_group(infobip, read, taken, name):
    report = await read(infobip.event(name, taken))

    refused = [] if name.startswith(("PENDING", "DELIVERED")) else [name]
    meaning = {"DELIVERED_TO_OPERATOR": "accepted", "SIGNALS_BLOCKED": "rejected"}.get(name) or EXPECTED.get(
        infobip.event(name, taken)["status"]["groupName"], "rejected"
    )
    expected = [event(Status(meaning), *refused)]
    if name == "REJECTED_DESTINATION_BLOCKLISTED":
        expected.insert(0, event(Status.UNSUBSCRIBED, name))
    assert report == Report(events=expected)


@pytest.mark.parametrize(
    ("kind", "code", "statuses"),
    [
        ("UNDELIVERABLE_NOT_DELIVERED:27", "EC_ABSENT_SUBSCRIBER", ["failed"]),
        ("UNDELIVERABLE_NOT_DELIVERED:7002", "EC_UNKNOWN_USER", ["failed"]),
        ("EXPIRED_EXPIRED:4098", "EC_VP_EXPIRED", ["failed"]),
        ("REJECTED_NETWORK:7009", "EC_INVALID_TEMPLATE", ["rejected"]),
        ("REJECTED_SOURCE:7034", "EC_SENDER_NOT_REGISTERED", ["rejected"]),
        ("REJECTED_SENDER:4099", "EC_MONTHLY_LIMIT_REACHED", ["rejected"]),
        ("REJECTED_DND:2050", "EC_DEST_ADDRESS_BLACKLISTED", ["rejected"]),
        ("REJECTED_SENDER:604", "EC_BLOCKED_BY_CAMPAIGN_BLACKLIST", ["rejected"]),
        ("UNDELIVERABLE_NOT_DELIVERED:7032", "EC_FREQUENCY_CAPPING", ["failed"]),
        ("UNDELIVERABLE_NOT_DELIVERED:573", "EC_SC_BLOCKED_BY_END_USER", ["unsubscribed", "failed"]),
        ("UNDELIVERABLE_NOT_DELIVERED:603", "EC_CONTENT_BLOCKED", ["unsubscribed", "failed"]),
        ("UNDELIVERABLE_NOT_DELIVERED:7003", "EC_BLOCKED_USER", ["unsubscribed", "failed"]),
        ("UNDELIVERABLE_NOT_DELIVERED:7030", "EC_TEMPLATE_BLOCKED_BY_USER", ["unsubscribed", "failed"]),
        ("UNDELIVERABLE_NOT_DELIVERED:7033", "EC_MARKETING_OPT_OUT", ["unsubscribed", "failed"]),
        ("REJECTED_SENDER:2052", "EC_BLACKLISTED_DESTINATIONADDRESS", ["unsubscribed", "rejected"]),
        ("UNDELIVERABLE_NOT_DELIVERED:4135", "4135", ["failed"]),
        ("DELIVERED_TO_HANDSET:603", "", ["delivered"]),
    ],
)
async def test_an_error_says_why_and_whether_the_user_opted_out(infobip, read, taken, kind, code, statuses):
    report = await read(infobip.event(kind, taken))

    assert report == Report(events=[event(Status(status), code) for status in statuses])


async def test_whatsapps_reports_are_matched_by_the_id_that_the_message_had(infobip, read, whatsapp_taken):
    delivered = infobip.event("DELIVERED_TO_HANDSET", whatsapp_taken)
    seen = infobip.event("SEEN", whatsapp_taken)

    report = await read(delivered, seen)

    assert "callbackData" not in delivered
    assert report == Report(events=[event(Status.DELIVERED), event(Status.OPENED)])


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        ({}, {}),
        ({"callbackData": None}, {}),
        ({"callbackData": "a text of another system's"}, {}),
        ({"callbackData": 7}, {}),
        ({"messageId": None}, {"provider_id": ""}),
        ({"messageId": "817790313235066447"}, {"provider_id": "817790313235066447"}),
        ({"messageId": "another.system's"}, {"provider_id": "another.system's"}),
        (
            {"messageId": "8177", "callbackData": None},
            {"message_id": "", "provider_id": "8177"},
        ),
    ],
)
async def test_a_report_is_matched_by_either_id(infobip, read, taken, ids, found):
    report = await read(infobip.event("DELIVERED_TO_HANDSET", taken) | ids)

    assert report == Report(events=[event(Status.DELIVERED, **found)])


async def test_a_report_without_any_id_is_counted(infobip, read, taken):
    report = await read(infobip.event("SEEN", taken) | {"messageId": "447700900123 and more"})

    assert report == counted({"no_id": 1})


def inbound(text, **other):
    return {
        "messageId": "8177",
        "from": USER,
        "to": "447700900999",
        "receivedAt": "2026-11-27T16:00:00.000+0000",
    } | ({"text": text, "cleanText": text, "keyword": "", "smsCount": 1} | other)


def viber_inbound(text, **other):
    message = {"type": "TEXT", "text": text, "trackingData": "t"}
    return {
        "sender": USER,
        "to": "Amazing",
        "integrationType": "VIBER",
        "receivedAt": "x",
        "message": message,
    } | other


def whatsapp_inbound(text, **other):
    message = {"type": "TEXT", "text": text}
    return {
        "from": USER,
        "to": "1",
        "integrationType": "WHATSAPP",
        "receivedAt": "x",
        "message": message,
    } | other


@pytest.mark.parametrize("shape", [inbound, viber_inbound, whatsapp_inbound])
@pytest.mark.parametrize(
    "text", ["STOP", "stop", " Stop.\r\n", "STOPALL", "unsubscribe!", "Cancel", "END", "quit"]
)
async def test_a_user_who_writes_stop_has_opted_out(read, shape, text):
    report = await read(shape(text))

    assert report == Report(events=[opted_out(recipient=NUMBER)])


async def test_a_stop_names_the_message_that_it_answers(read):
    report = await read(whatsapp_inbound("stop", pairedMessageId=THEIRS))

    assert report == Report(events=[opted_out(provider_id=THEIRS, recipient=NUMBER)])


@pytest.mark.parametrize("shape", [inbound, viber_inbound, whatsapp_inbound])
@pytest.mark.parametrize("text", ["", "STOP it, I like you", "UNSTOP", "START", "the end", "STÓP"])
async def test_other_texts_are_only_counted(read, shape, text):
    assert await read(shape(text)) == counted({"inbound": 1})


@pytest.mark.parametrize(
    "result",
    [
        {"receivedAt": "x", "from": USER, "message": {"type": "LOCATION", "latitude": 1.5}},
        {"receivedAt": "x", "from": USER, "message": "STOP"},
        {"receivedAt": "x", "from": USER, "text": ["STOP"]},
    ],
)
async def test_what_is_no_text_is_only_counted(read, result):
    assert await read(result) == counted({"inbound": 1})


@pytest.mark.parametrize(
    "user", ["HR.123123123", "+447700900123", "0044770090", 447700900123, None, [USER], ""]
)
async def test_an_opt_out_by_nobody_is_counted(read, user):
    assert await read(whatsapp_inbound("STOP") | {"from": user}) == counted({"no_id": 1})


def blocked(**content):
    """An event of the blocklist, as of a subscription of that category."""
    reference = {"bulkId": "2034072219640523072", "outboundMessageId": THEIRS}
    return {
        "event": "BLOCK",
        "receivedAt": "2026-11-27T16:00:00.000+0000",
        "messageId": "1695640910883409241",
        "content": {
            "sender": "Amazing",
            "destination": USER,
            "sourceType": "MO",
            "outboundMessageReference": reference,
        }
        | content,
    }


@pytest.mark.parametrize("source", ["MO", "URL_OPT_OUT"])
async def test_a_user_who_came_onto_the_blocklist_by_herself_has_opted_out(read, source):
    report = await read(blocked(sourceType=source))

    assert report == Report(events=[opted_out(provider_id=THEIRS, recipient=NUMBER)])


async def test_without_the_message_the_number_says_who_it_is(read):
    report = await read(blocked(outboundMessageReference=None))

    assert report == Report(events=[opted_out(recipient=NUMBER)])


@pytest.mark.parametrize(
    "result",
    [
        blocked(sourceType="CAMPAIGN"),
        blocked() | {"event": "UNBLOCK"},
        blocked() | {"event": "PAUSE"},
        blocked() | {"content": None},
    ],
)
async def test_other_changes_of_the_blocklist_are_counted(read, result):
    assert await read(result) == counted({"blocklist": 1})


async def test_an_email_on_the_blocklist_names_no_user_of_this_channel(read):
    report = await read(blocked(destination="user@example.com", outboundMessageReference=None))

    assert report == counted({"no_id": 1})


def marketing(status):
    content = {
        "sender": "447700900999",
        "from": USER,
        "notificationMessagesStatus": status,
        "description": "x",
    }
    return {"from": "447700900999", "content": content, "createdAt": "2026-11-27T16:00:00.000+0000"}


async def test_a_user_who_stops_marketing_messages_has_opted_out(read):
    assert await read(body=marketing("stop")) == Report(events=[opted_out(recipient=NUMBER)])


@pytest.mark.parametrize(
    "body",
    [
        marketing("resume"),
        {"from": "4477", "content": {"type": "payment", "paymentId": "fd3"}, "createdAt": "x"},
        {
            "messageTemplateName": "news",
            "change": {"type": "TEMPLATE_STATUS_UPDATE", "newStatus": "REJECTED"},
        },
    ],
)
async def test_other_events_of_whatsapp_are_counted(read, body):
    assert await read(body=body) == counted({"unknown": 1})


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        ({"messageId": THEIRS, "clickedAt": "x"}, "unknown"),
        ({}, "unknown"),
        ({"messageId": THEIRS, "status": {"groupId": 6, "id": 900, "name": "NEW"}}, "unknown"),
        ({"messageId": THEIRS, "status": {"groupId": "3", "id": 5}}, "malformed"),
        ({"messageId": THEIRS, "status": "DELIVERED"}, "malformed"),
        ({"messageId": THEIRS, "status": None}, "malformed"),
        ({"messageId": THEIRS, "seenAt": None}, "unknown"),
        (None, "malformed"),
        ("DELIVERED", "malformed"),
        ([], "malformed"),
    ],
)
async def test_a_new_kind_of_event_is_counted_beside_the_others(infobip, read, taken, result, kind):
    report = await read(result, infobip.event("DELIVERED_TO_HANDSET", taken))

    assert report == Report(events=[event(Status.DELIVERED)], ignored={kind: 1})


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        ({}, {"id": 1, "name": "EC_UNKNOWN_SUBSCRIBER"}, "EC_UNKNOWN_SUBSCRIBER"),
        ({}, {"id": 0, "name": "NO_ERROR"}, "REJECTED_NETWORK"),
        ({}, None, "REJECTED_NETWORK"),
        ({}, "EC_UNKNOWN_SUBSCRIBER", "REJECTED_NETWORK"),
        ({}, {"id": [573], "name": "EC_X"}, "REJECTED_NETWORK"),
        ({}, {"id": {"573": 1}}, "REJECTED_NETWORK"),
        ({}, {"id": 9, "name": "about 447700900123"}, "9"),
        ({}, {"id": 9, "name": "EC_447700900123"}, "9"),
        ({}, {"id": 9, "name": "lower_case"}, "9"),
        ({}, {"id": -9, "name": None}, ""),
        ({}, {"id": 447700900123}, ""),
        ({"name": "x" * 500}, None, "6"),
    ],
)
async def test_only_codes_of_infobips_form_pass(infobip, read, taken, status, error, code):
    result = infobip.event("REJECTED_NETWORK", taken)
    result |= {"status": result["status"] | status, "error": error}

    assert await read(result) == Report(events=[event(Status.REJECTED, code)])


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "the body is not JSON"),
        (b"{", "the body is not JSON"),
        (b"\xff\xfe", "the body is not JSON"),
        (b"[]", "not a report of Infobip's"),
        (b"{}", "not a report of Infobip's"),
        (b'{"results": {}}', "not a report of Infobip's"),
        (b'{"results": null}', "not a report of Infobip's"),
        (b" <DeliveryReports><results/></DeliveryReports>", "the report is XML: set the content type"),
        (b'{"deliveryInfoNotification": {"deliveryInfo": {}}}', "older OneAPI: use a subscription"),
        (b'{"inboundSMSMessageNotification": {}}', "older OneAPI: use a subscription"),
    ],
)
async def test_another_body_is_refused_in_one_line(read, body, problem):
    with pytest.raises(BadWebhook, match=problem):
        await read(body=body)


async def test_a_report_of_version_2_of_the_api_is_read_too(read):
    """A subscription may still have it: other names for the sender and the parts, and the same statuses."""
    result = {
        "bulkId": "b",
        "messageId": "2250be2d4219-3af1-78856-aabe-1362af1edfd2",
        "to": USER,
        "from": "Amazing",
        "smsCount": 1,
        "callbackData": OURS,
        "price": {"pricePerMessage": 0.01, "currency": "EUR"},
        "status": {"groupId": 3, "groupName": "DELIVERED", "id": 5, "name": "DELIVERED_TO_HANDSET"},
        "error": {"groupId": 0, "groupName": "OK", "id": 0, "name": "NO_ERROR", "permanent": False},
    }

    report = await read(result)

    assert report == Report(events=[event(Status.DELIVERED, provider_id=result["messageId"])])


async def test_a_large_report_is_read(infobip, read, taken):
    report = await read(*[infobip.event("DELIVERED_TO_HANDSET", taken)] * 2_000)

    assert len(report.events) == 2_000


def requested(url=URL, **headers):
    return with_headers(webhook_request(url, b'{"results": []}'), headers)


TOKEN, QUOTED = "t0k&n-that-is-20-long", "t0k%26n-that-is-20-long"
BASIC = basic_auth("infobip", Secret("swordfish"))


@pytest.mark.parametrize(
    ("keys", "request_", "is_accepted"),
    [
        ({"webhook_token": TOKEN}, requested(f"{URL}?token={QUOTED}"), True),
        ({"webhook_token": TOKEN}, requested(f"{URL}?x=1&token={QUOTED}"), True),
        ({"webhook_token": TOKEN}, requested(f"{URL}?token={QUOTED}", **BASIC), True),
        ({"webhook_token": TOKEN}, requested(), False),
        ({"webhook_token": TOKEN}, requested(f"{URL}?token="), False),
        ({"webhook_token": TOKEN}, requested(f"{URL}?token=t0k"), False),
        ({"webhook_token": TOKEN}, requested(**BASIC), False),
        ({"webhook_basic": LOGIN}, requested(**BASIC), True),
        ({"webhook_basic": LOGIN}, requested(f"{URL}?token=x", **BASIC), True),
        ({"webhook_basic": LOGIN}, requested(), False),
        ({"webhook_basic": LOGIN}, requested(f"{URL}?token="), False),
        ({"webhook_basic": LOGIN}, requested(**basic_auth("infobip", Secret("other"))), False),
        ({"webhook_basic": LOGIN}, requested(**basic_auth("other", Secret("swordfish"))), False),
        ({"webhook_basic": LOGIN}, requested(Authorization="Bearer x"), False),
        # With both of them, one is enough; but no header that is wrong.
        ({"webhook_token": TOKEN, "webhook_basic": LOGIN}, requested(f"{URL}?token={QUOTED}"), True),
        ({"webhook_token": TOKEN, "webhook_basic": LOGIN}, requested(**BASIC), True),
        ({"webhook_token": TOKEN, "webhook_basic": LOGIN}, requested(), False),
        ({"webhook_token": TOKEN, "webhook_basic": LOGIN}, requested(f"{URL}?token=u"), False),
        (
            {"webhook_token": TOKEN, "webhook_basic": LOGIN},
            requested(f"{URL}?token={QUOTED}", Authorization="x"),
            False,
        ),
    ],
)
async def test_the_token_or_the_login_proves_that_it_is_infobip(running, keys, request_, is_accepted):
    async with running(**({"webhook_token": None} | keys)) as plugin:
        if is_accepted:
            assert await plugin.parse_webhook(request_) == counted({})
        else:
            with pytest.raises(BadSignature, match="is missing or wrong"):
                await plugin.parse_webhook(request_)


async def test_without_either_no_report_is_accepted(running):
    async with running(webhook_token=None) as plugin:
        with pytest.raises(NoVerificationKey, match="webhook_token or webhook_basic is not set"):
            await plugin.parse_webhook(requested(f"{URL}?token="))
