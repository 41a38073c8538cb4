"""The verification and the translation of what Twilio sends to the webhook."""

from base64 import b64encode
from hmac import digest
from urllib.parse import urlencode

import pytest

from gatepost.errors import BadSignature, BadWebhook, NoVerificationKey
from gatepost.model import Secret, Status
from gatepost.testing.fixtures import MESSAGE_ID
from gatepost.testing.report_sender import AutomaticReports, TakenMessage
from gatepost.testing.webhook_requests import WEBHOOK_URL, webhook_request, with_headers, without_header

NUMBER = "+447700900123"
SID = "SM" + "0" * 32
TAKEN = TakenMessage(id=MESSAGE_ID, provider_id=SID, message={"To": NUMBER, "From": "Amazing"}, headers={})


def statuses(report):
    return [event.status for event in report.events]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        *((kind, [Status.ACCEPTED]) for kind in ("accepted", "scheduled", "queued", "sending", "sent")),
        ("delivered", [Status.DELIVERED]),
        ("read", [Status.OPENED]),
        ("canceled", [Status.REJECTED]),
        ("undelivered", [Status.FAILED]),
        ("failed", [Status.REJECTED]),
        ("undelivered:30003", [Status.FAILED]),
        ("failed:30003", [Status.FAILED]),
        ("undelivered:30034", [Status.REJECTED]),
        ("failed:63016", [Status.REJECTED]),
        ("failed:63015", [Status.REJECTED]),
        ("failed:63024", [Status.FAILED]),
        ("failed:30002", [Status.REJECTED]),
        ("failed:21610", [Status.UNSUBSCRIBED, Status.REJECTED]),
        # New codes follow the status.
        ("undelivered:39999", [Status.FAILED]),
        ("failed:39999", [Status.REJECTED]),
    ],
)
async def test_each_status_is_translated(twilio, reported, kind, expected):
    report = await reported(twilio.event(kind, TAKEN))

    assert statuses(report) == expected
    assert {event.message_id for event in report.events} == {MESSAGE_ID}
    assert {event.provider_id for event in report.events} == {SID}
    assert {event.code for event in report.events} == {kind.partition(":")[2]}
    assert (report.ignored, report.answer) == ({}, None)


@pytest.mark.parametrize("status", ["partially_delivered", "teleported", "Delivered"])
async def test_a_status_that_means_nothing_is_counted(twilio, reported, status):
    report = await reported(twilio.event(status, TAKEN))

    assert (report.events, report.ignored) == ([], {"unknown": 1})


async def test_a_report_of_the_older_form_is_read(twilio, reported):
    event = twilio.event("delivered", TAKEN)
    del event["MessageStatus"], event["MessageSid"]
    report = await reported({**event, "ApiVersion": "2008-08-01"})

    assert [(event.status, event.provider_id) for event in report.events] == [(Status.DELIVERED, SID)]


async def test_a_report_without_our_id_has_twilios(twilio, reported):
    event = twilio.event("delivered", TAKEN)
    del event["id"]
    report = await reported(event)

    assert [(event.message_id, event.provider_id) for event in report.events] == [("", SID)]


async def test_a_report_without_any_id_is_counted(twilio, reported):
    report = await reported({"MessageStatus": "delivered", "AccountSid": twilio.account_sid})

    assert (report.events, report.ignored) == ([], {"no_id": 1})


@pytest.mark.parametrize(
    ("text", "fields", "stops", "kind"),
    [
        ("STOP", {}, True, ""),
        (" stop\n", {}, True, ""),
        ("OptOut", {}, True, ""),
        ("Arrêt", {"OptOutType": "STOP"}, True, ""),
        ("please don't stop", {}, False, "incoming"),
        ("START", {"OptOutType": "START"}, False, "start"),
        ("STOP", {"OptOutType": "HELP"}, False, "help"),
        ("STOP", {"OptOutType": "NEW"}, False, "incoming"),
        ("STOP", {"From": "Amazing"}, False, "incoming"),
        ("STOP", {"From": ""}, False, "incoming"),
        ("STOP", {"From": f"whatsapp:{NUMBER}"}, True, ""),
        ("STOP", {"SmsStatus": "receiving"}, True, ""),
    ],
)
async def test_a_stop_names_the_user(twilio, reported, text, fields, stops, kind):
    report = await reported(twilio.incoming(text, NUMBER, **fields))

    assert [(event.status, event.recipient) for event in report.events] == (
        [(Status.UNSUBSCRIBED, Secret(NUMBER))] if stops else []
    )
    assert report.ignored == ({} if stops else {kind: 1})
    assert (report.answer.body, report.answer.content_type) == (b"<Response/>", "text/xml")


async def test_a_report_of_another_account_is_refused_with_advice(twilio, reported):
    event = {**twilio.event("delivered", TAKEN), "AccountSid": "AC" + "0" * 32}
    with pytest.raises(BadWebhook, match="another account than account_sid"):
        await reported(event)


async def test_a_form_of_another_product_is_refused(twilio, reported):
    with pytest.raises(BadWebhook, match="neither the status of a message"):
        await reported({"CallSid": "CA1", "CallStatus": "completed", "From": NUMBER})


async def test_an_unsigned_and_a_forged_report_are_refused(twilio, plugin, signed):
    [body] = twilio.bodies([twilio.event("delivered", TAKEN)], batch=0)
    for request in (without_header(signed(body), "x-twilio-signature"), signed(body, forged=True)):
        with pytest.raises(BadSignature, match="missing, or not by auth_token"):
            await plugin.parse_webhook(request)


async def test_a_report_signed_by_a_webhooks_rule_is_refused_with_advice(twilio, plugin, signed):
    [body] = twilio.bodies([twilio.event("delivered", TAKEN)], batch=0)
    settings = {"X-Twilio-Webhooks-Signature-Settings": "key=k,algorithm=HMAC_SHA256"}
    with pytest.raises(BadSignature, match="remove Twilio's Webhooks Rule"):
        await plugin.parse_webhook(with_headers(signed(body), settings))


@pytest.mark.parametrize(
    ("how", "url"),
    [({"method": "GET"}, WEBHOOK_URL), ({}, f"{WEBHOOK_URL}?bodySHA256={'0' * 64}")],
    ids=["GET", "Event Streams"],
)
async def test_another_kind_of_webhook_is_refused_with_advice(plugin, signed, how, url):
    with pytest.raises(BadWebhook, match="choose HTTP POST at Twilio, and no Event Streams"):
        await plugin.parse_webhook(signed(b"[]", url=url, **how))


@pytest.mark.parametrize("body", [b"[]", b"{", b"\xff", b"a=1&&b", b"&" * 2_000])
async def test_a_body_that_is_no_form_is_refused(plugin, signed, body):
    with pytest.raises((BadWebhook, BadSignature)):
        await plugin.parse_webhook(signed(body))


async def test_without_a_token_no_report_is_accepted(twilio, make_plugin, signed):
    [body] = twilio.bodies([twilio.event("delivered", TAKEN)], batch=0)
    with pytest.raises(NoVerificationKey, match="auth_token is not set"):
        await make_plugin(auth_token=None).parse_webhook(signed(body))


@pytest.mark.parametrize(
    "keys", [{}, {"auth_token": "old", "secondary_auth_token": "TOKEN"}, {"secondary_auth_token": "new"}]
)
async def test_while_the_token_is_replaced_both_are_accepted(twilio, make_plugin, signed, keys):
    [body] = twilio.bodies([twilio.event("delivered", TAKEN)], batch=0)
    tokens = {key: twilio.auth_token if token == "TOKEN" else token for key, token in keys.items()}
    plugin = make_plugin(**tokens)

    assert statuses(await plugin.parse_webhook(signed(body))) == [Status.DELIVERED]
    with pytest.raises(BadSignature):
        await plugin.parse_webhook(signed(body, forged=True))


@pytest.mark.parametrize(
    ("seen", "signed_url"),
    [
        ("https://gw.example/webhooks/t?id=1", "https://gw.example/webhooks/t?id=1"),
        ("https://gw.example/webhooks/t?id=1", "https://gw.example:443/webhooks/t?id=1"),
        ("http://gw.example/webhooks/t?id=1", "http://gw.example:80/webhooks/t?id=1"),
        ("https://gw.example:8443/webhooks/t?id=1", "https://gw.example/webhooks/t?id=1"),
        ("https://gw.example:8443/webhooks/t?id=1", "https://gw.example:8443/webhooks/t?id=1"),
        ("https://gw.example/webhooks/t?id=1", "https://gw.example/webhooks/t?id=1#rc=5&rp=all"),
    ],
)
async def test_the_url_may_be_signed_with_or_without_its_port(twilio, make_plugin, seen, signed_url):
    fields = {"MessageSid": SID, "MessageStatus": "sent"}
    text = signed_url + "".join(name + value for name, value in sorted(fields.items()))
    signature = b64encode(digest(twilio.auth_token.encode(), text.encode(), "sha1")).decode()
    request = webhook_request(seen, urlencode(fields).encode(), headers={"X-Twilio-Signature": signature})
    report = await make_plugin().parse_webhook(request)

    assert [(event.status, event.message_id) for event in report.events] == [(Status.ACCEPTED, "1")]
    with pytest.raises(BadSignature):
        await make_plugin().parse_webhook(
            webhook_request(seen.replace("id=1", "id=2"), request.body, headers=request.headers)
        )


async def test_reports_go_to_the_callback_of_their_message_and_are_repeated(twilio, running, sms, webhook):
    twilio.time_scale = 0.0
    twilio.automatic_reports = AutomaticReports(kinds=("sent", "delivered"))
    webhook.answers = [503, 503, 200, 401, 200]
    async with running(context={"webhook_url": webhook.url}) as plugin:
        await plugin.send_sms(sms())
        await twilio.wait_for_reports()
        reports = [await plugin.parse_webhook(request) for request in webhook.requests]

    assert [status for report in reports for status in statuses(report)] == (
        [Status.ACCEPTED] * 3 + [Status.DELIVERED] * 2
    )
    assert {event.message_id for report in reports for event in report.events} == {MESSAGE_ID}
