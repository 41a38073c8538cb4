"""The sends: their requests on each channel, and what each answer means."""

import json
import logging

import pytest
from aiohttp import web

from gatepost.errors import Rejected, Unavailable, Uncertain
from gatepost.model import Receipt, Secret, Status
from gatepost.testing import emulator

DIGITS = "447700900123"
ADDRESS = "https://gatepost.example/webhooks/infobip"


async def sent_on(on, channel, message, infobip, context=None, **keys):
    """Send a message on a channel; return its Receipt, and the one message in the request that Infobip took."""
    async with on(channel, context, **keys) as plugin:
        receipt = await plugin.send_sms(message)
    [taken] = infobip.taken
    [one] = taken.message["messages"]
    assert infobip.refused == []
    return receipt, one


async def test_a_text_message_is_taken_with_our_id_and_counted_by_infobip(infobip, on, sms):
    message = sms("Grüße, 5 €", idempotency_key="a1-1", tags=("smartico", "uk"))

    receipt, one = await sent_on(on, "sms", message, infobip, {"webhook_url": ADDRESS})

    own_id = f"{message.id}.a1-1"
    assert receipt == Receipt(own_id, parts=1)
    assert one == {
        "sender": "Amazing",
        "destinations": [{"to": DIGITS, "messageId": own_id}],
        "content": {"text": "Grüße, 5 €"},
        "options": {
            "validityPeriod": {"amount": 3_600, "timeUnit": "SECONDS"},
            "campaignReferenceId": "smartico:uk",
        },
        "webhooks": {
            "delivery": {"url": f"{ADDRESS}?token={infobip.webhook_token}"},
            "contentType": "application/json",
            "callbackData": message.id,
        },
    }
    assert infobip.taken[0].message["options"] == {"includeSmsCountInResponse": True}


async def test_a_viber_message_has_a_label_and_an_address_for_seen_reports(infobip, on, sms):
    message = sms("Hello\n👋", sender="+447700900111")

    receipt, one = await sent_on(
        on, "viber", message, infobip, {"webhook_url": ADDRESS}, category="promotion"
    )

    reports_to = {"url": f"{ADDRESS}?token={infobip.webhook_token}"}
    assert receipt == Receipt(f"{message.id}.")
    assert one == {
        "sender": "Amazing Casino",
        "destinations": [{"to": DIGITS, "messageId": f"{message.id}."}],
        "content": {"type": "TEXT", "text": "Hello\n👋"},
        "options": {"validityPeriod": {"amount": 3_600, "timeUnit": "SECONDS"}, "label": "PROMOTIONAL"},
        "webhooks": {
            "delivery": reports_to,
            "seen": reports_to,
            "contentType": "application/json",
            "callbackData": message.id,
        },
    }


async def test_a_whatsapp_message_is_the_template_with_the_text_in_its_placeholder(infobip, on, sms):
    message = sms("Your code is 1234")

    receipt, one = await sent_on(on, "whatsapp", message, infobip, {"webhook_url": ADDRESS})

    assert receipt == Receipt(f"{message.id}.", parts=1)
    assert one == {
        "from": "447700900999",
        "to": DIGITS,
        "messageId": f"{message.id}.",
        "content": {
            "templateName": "news",
            "language": "en_GB",
            "templateData": {"body": {"placeholders": ["Your code is 1234"]}},
        },
        "callbackData": message.id,
        "notifyUrl": f"{ADDRESS}?token={infobip.webhook_token}",
    }


@pytest.mark.parametrize("channel", ["sms", "viber", "whatsapp"])
@pytest.mark.parametrize("missing", ["token", "address"])
async def test_no_address_is_sent_that_gatepost_could_not_accept_reports_at(
    infobip, on, sms, channel, missing
):
    """Without the token Infobip would have nothing to prove itself with; reports then come by a subscription."""
    context = {"webhook_url": ADDRESS if missing == "token" else ""}
    keys = {"webhook_token": None} if missing == "token" else {}

    await sent_on(on, channel, sms(), infobip, context, **keys)

    sent = json.dumps(infobip.taken[0].message)
    assert "url" not in sent.lower()
    assert infobip.webhook_token not in sent


async def test_a_token_is_encoded_for_the_url(infobip, on, sms):
    token = "a&b=c#d+/and-some-more"
    _, one = await sent_on(on, "sms", sms(), infobip, {"webhook_url": ADDRESS}, webhook_token=token)

    assert one["webhooks"]["delivery"]["url"] == f"{ADDRESS}?token=a%26b%3Dc%23d%2B%2Fand-some-more"


@pytest.mark.parametrize(
    ("lifetime", "seconds"), [(0.5, 60), (60.0, 60), (90.9, 90), (172_800.0, 172_800), (1e7, 172_800)]
)
@pytest.mark.parametrize("channel", ["sms", "viber"])
async def test_the_validity_is_the_lifetime_within_infobips_limit(
    infobip, on, sms, channel, lifetime, seconds
):
    _, one = await sent_on(on, channel, sms(lifetime=lifetime), infobip)

    assert one["options"]["validityPeriod"] == {"amount": seconds, "timeUnit": "SECONDS"}


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        (None, "Amazing"),
        ("Casino 21!", "Casino 21!"),
        ("ABCDEFGHIJK", "ABCDEFGHIJK"),
        ("60606", "60606"),
        ("+447700900999", "447700900999"),
        ("447700900999000", "447700900999000"),
    ],
)
async def test_a_sender_that_infobip_can_take_is_sent(infobip, on, sms, sender, expected):
    _, one = await sent_on(on, "sms", sms(sender=sender), infobip)

    assert one["sender"] == expected


@pytest.mark.parametrize(
    "sender",
    ["ABCDEFGHIJKL", " Casino", "Casino ", "Café", "Cas\tino", "4477009009990001", "٤٤٧٧٠٠٩٠٠٩٩٩"],
)
async def test_another_sender_is_rejected_without_a_request(infobip, plugin, sms, sender):
    with pytest.raises(
        Rejected, match="the sender must be up to 15 digits or 11 ASCII characters"
    ) as refusal:
        await plugin.send_sms(sms(sender=sender))

    assert refusal.value.code == "REJECTED_SOURCE"
    assert infobip.requests == []


async def test_a_message_without_any_sender_is_rejected(infobip, on, sms):
    async with on("sms", default_sender="") as plugin:
        with pytest.raises(Rejected, match="set default_sender") as refusal:
            await plugin.send_sms(sms(sender=None))

    assert refusal.value.code == "REJECTED_SOURCE"
    assert infobip.requests == []


@pytest.mark.parametrize(
    ("channel", "fields", "code"),
    [
        *((channel, {"recipient": number}, "REJECTED_DESTINATION") for channel in ("sms", "viber", "whatsapp")
          for number in ("+0447700900123", "+44770", "+4477009001234567", "+4٤٧٧٠٠٩٠٠١٢٣", "")),
        *((channel, {"text": "Hi \ud800"}, "EC_BAD_REQUEST") for channel in ("sms", "viber", "whatsapp")),
        ("viber", {"text": "x" * 1_001}, "REJECTED_MESSAGE_TOO_LONG"),
        *(("whatsapp", {"text": text}, "EC_INVALID_TEMPLATE_ARGS") for text in ("a\nb", "a\rb", "a\tb", "a     b")),
    ],
)  # fmt: skip
async def test_what_a_channel_cannot_carry_is_rejected_without_a_request(
    infobip, on, sms, channel, fields, code
):
    if "recipient" in fields:
        fields = {"recipient": Secret(fields["recipient"])}
    async with on(channel) as plugin:
        with pytest.raises(Rejected) as refusal:
            await plugin.send_sms(sms(**fields))

    assert refusal.value.code == code
    assert infobip.requests == []
    # The encoder's own error holds the text.
    assert refusal.value.__context__ is None
    assert not any(str(value) in str(refusal.value) for value in fields.values() if isinstance(value, str))


@pytest.mark.parametrize(
    ("channel", "text"), [("viber", "ж" * 1_000), ("whatsapp", "a    b"), ("sms", "x" * 3_000)]
)
async def test_the_longest_that_a_channel_can_carry_is_sent(infobip, on, sms, channel, text):
    await sent_on(on, channel, sms(text), infobip)


@pytest.mark.parametrize(
    ("status", "error", "flags"),
    [
        ("REJECTED_NETWORK", Unavailable, {"message_only"}),
        ("REJECTED_PREFIX_MISSING", Rejected, set()),
        ("REJECTED_DND", Rejected, set()),
        ("REJECTED_SOURCE", Unavailable, {"misconfigured", "content_only"}),
        ("REJECTED_NOT_ENOUGH_CREDITS", Unavailable, {"misconfigured"}),
        ("REJECTED_SENDER", Unavailable, {"misconfigured", "content_only"}),
        ("REJECTED_DESTINATION_BLOCKLISTED", Rejected, {"status"}),
        ("REJECTED_PREPAID_PACKAGE_EXPIRED", Unavailable, {"misconfigured"}),
        ("REJECTED_DESTINATION_NOT_REGISTERED", Unavailable, {"misconfigured"}),
        ("REJECTED_ROUTE_NOT_AVAILABLE", Unavailable, {"misconfigured"}),
        ("REJECTED_FLOODING_FILTER", Unavailable, {"message_only"}),
        ("REJECTED_SYSTEM_ERROR", Unavailable, set()),
        ("REJECTED_DUPLICATE_MESSAGE_ID", Uncertain, set()),
        ("REJECTED_INVALID_UDH", Rejected, set()),
        ("REJECTED_MESSAGE_TOO_LONG", Rejected, set()),
        ("MISSING_TO", Rejected, set()),
        ("REJECTED_DESTINATION", Rejected, set()),
        ("UNDELIVERABLE_REJECTED_PLATFORM", Unavailable, {"content_only"}),
        ("UNDELIVERABLE_REJECTED_OPERATOR", Rejected, set()),
        ("UNDELIVERABLE_NOT_DELIVERED", Rejected, set()),
        ("UNDELIVERABLE_NOT_SENT", Rejected, set()),
        ("EXPIRED_EXPIRED", Rejected, set()),
        ("EXPIRED_DLR_UNKNOWN", Rejected, set()),
        ("SIGNALS_BLOCKED", Rejected, set()),
    ],
)
@pytest.mark.parametrize("channel", ["sms", "viber", "whatsapp"])
async def test_each_status_that_refuses_in_an_answer_200_has_its_error(
    infobip, on, sms, channel, status, error, flags
):
    infobip.verdict = status

    async with on(channel) as plugin:
        with pytest.raises(error) as raised:
            await plugin.send_sms(sms())

    assert type(raised.value) is error
    assert raised.value.code == status
    names = ("misconfigured", "message_only", "content_only", "status")
    assert {name for name in names if getattr(raised.value, name, None)} == flags
    assert getattr(raised.value, "status", None) in {None, Status.UNSUBSCRIBED}
    assert infobip.taken == []
    assert DIGITS not in repr(raised.value)


@pytest.mark.parametrize(
    "status", ["PENDING_WAITING_DELIVERY", "PENDING_ENROUTE", "PENDING_ACCEPTED", "DELIVERED_TO_HANDSET"]
)
async def test_each_status_that_accepts_is_a_receipt(infobip, plugin, sms, status):
    infobip.verdict = status

    assert (await plugin.send_sms(sms())).parts == 1


async def test_a_repeat_of_the_same_request_is_uncertain_and_taken_once(infobip, plugin, sms):
    """As from a proxy that repeats requests; a try of Gatepost's own has another id."""
    message = sms(idempotency_key="x-1")
    await plugin.send_sms(message)

    with pytest.raises(Uncertain, match="already has a message with this id"):
        await plugin.send_sms(message)
    await plugin.send_sms(sms(idempotency_key="x-2"))

    assert len(infobip.taken) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"messages": []}',
        b'{"messages": [{"messageId": "m"}]}',
        b'{"messages": [{"messageId": "m", "status": {"groupId": "1", "id": 26}}]}',
        b'{"messages": [{"status": {"groupId": 9}}]}',
        b'{"messages": [{"status": {"groupId": 1}}, {"status": {"groupId": 1}}]}',
    ],
)
async def test_an_answer_that_is_not_infobips_is_uncertain(infobip, plugin, sms, body, monkeypatch):
    async def odd_answer(_request, _body):
        return web.Response(body=body, content_type="application/json")

    monkeypatch.setattr(infobip, "answer_to", odd_answer)

    with pytest.raises(Uncertain, match="the answer is not Infobip's: check base_url"):
        await plugin.send_sms(sms())


@pytest.mark.parametrize(
    ("message", "receipt"),
    [
        ({"messageId": "m", "status": {"groupId": 0, "id": 0}}, Receipt("m")),
        ({"messageId": 7, "status": {"groupId": 1}, "details": {"messageCount": 3}}, Receipt("", parts=3)),
        ({"messageId": "m", "status": {"groupId": 1}, "details": {"messageCount": "3"}}, Receipt("m")),
        ({"messageId": "m", "status": {"groupId": 1}, "details": None, "messageCount": 256}, Receipt("m")),
        ({"messageId": "m", "status": {"groupId": 1}, "messageCount": 255}, Receipt("m", parts=255)),
        ({"messageId": "m", "status": {"groupId": 1}, "messageCount": True}, Receipt("m")),
    ],
)
async def test_what_an_answer_lacks_is_left_out(infobip, plugin, sms, message, receipt, monkeypatch):
    async def answer(_request, _body):
        return web.json_response({"messages": [message]})

    monkeypatch.setattr(infobip, "answer_to", answer)

    assert await plugin.send_sms(sms()) == receipt


@pytest.mark.parametrize(
    ("channel", "fault", "error", "expected"),
    [
        ("sms", emulator.answer(400), Rejected, {"code": "E400"}),
        ("whatsapp", emulator.answer(400), Rejected, {"code": "BAD_REQUEST"}),
        ("sms", emulator.answer(401), Unavailable, {"code": "E401", "misconfigured": True}),
        ("whatsapp", emulator.answer(401), Unavailable, {"code": "UNAUTHORIZED", "misconfigured": True}),
        ("viber", emulator.answer(403), Unavailable, {"code": "E403", "misconfigured": True}),
        ("sms", emulator.answer(404), Unavailable, {"code": "E404", "misconfigured": True}),
        (
            "sms",
            emulator.answer(429, {"Retry-After": "7"}),
            Unavailable,
            {"code": "E429", "retry_after": 7.0},
        ),
        (
            "whatsapp",
            emulator.answer(429),
            Unavailable,
            {"code": "TOO_MANY_REQUESTS", "misconfigured": False},
        ),
        ("sms", emulator.answer(500), Unavailable, {"code": "E500", "misconfigured": False}),
        ("sms", emulator.answer(503), Unavailable, {"code": "E503", "misconfigured": False}),
        ("sms", emulator.answer(202), Uncertain, {"code": "202"}),
        ("sms", emulator.answer(302, {"Location": "/elsewhere"}), Unavailable, {"misconfigured": True}),
        ("sms", emulator.close_after_body(taken=True), Uncertain, {}),
    ],
)
async def test_each_http_error_has_its_outcome_after_one_request(
    infobip, on, sms, channel, fault, error, expected
):
    infobip.plan(fault)

    async with on(channel) as plugin:
        with pytest.raises(error) as raised:
            await plugin.send_sms(sms())

    assert {name: getattr(raised.value, name) for name in expected} == expected
    assert len(infobip.requests) == 1
    assert DIGITS not in repr(raised.value)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"errorCode": "E400", "violations": [{"property": "messages[0].destinations[0].to"}]}, "E400 to"),
        (
            {"errorCode": "E400", "violations": [{"property": f"messages[0].{name}"} for name in ("sender", "content.text")]},
            "E400 sender text",
        ),
        ({"errorCode": "E400", "violations": [{"property": "messages[0].447700900123"}]}, "E400"),
        ({"errorCode": "E400", "violations": "messages"}, "E400"),
        ({"errorCode": "to 447700900123"}, "400"),
        ({"errorCode": 40}, "40"),
        (
            {
                "requestError": {
                    "serviceException": {
                        "messageId": "BAD_REQUEST",
                        "text": "Bad request",
                        "validationErrors": {"messages[0].content.templateData.body.placeholders[0]": ["no tabs"]},
                    }
                }
            },
            "BAD_REQUEST placeholders",
        ),
        ({"requestError": {"serviceException": {"messageId": "BAD_REQUEST", "text": "x"}}}, "BAD_REQUEST"),
        ({"requestError": {"serviceException": {"messageId": ["BAD"]}}}, "400"),
        ({"requestError": "no"}, "400"),
        ([], "400"),
        ("no", "400"),
    ],
)  # fmt: skip
async def test_an_error_is_known_by_its_code_and_a_wrong_field_by_its_name(
    infobip, plugin, sms, body, code, monkeypatch
):
    async def refuse(_request, _body):
        return infobip.refuse(400, "planned", body=body)

    monkeypatch.setattr(infobip, "answer_to", refuse)

    with pytest.raises(Rejected) as raised:
        await plugin.send_sms(sms())

    assert raised.value.code == code


async def test_another_accounts_key_is_misconfigured(infobip, on, sms):
    """Also one for another region: each account has a URL of its own."""
    async with on("sms", api_key="of-another-account") as plugin:
        with pytest.raises(
            Unavailable, match="check the key, the account and its credit, and base_url"
        ) as raised:
            await plugin.send_sms(sms())
        with pytest.raises(Unavailable):
            await plugin.ping()

    assert raised.value.misconfigured
    assert infobip.refused == [(401, "Invalid login details")] * 2


@pytest.mark.parametrize(
    ("channel", "path"),
    [
        ("sms", "/sms/3/reports"),
        ("viber", "/viber/2/reports"),
        ("whatsapp", "/whatsapp/2/senders/447700900999/templates"),
    ],
)
async def test_ping_asks_for_what_costs_nothing(infobip, on, channel, path):
    async with on(channel) as plugin:
        await plugin.ping()

    assert infobip.requests == [("GET", path)]
    assert infobip.refused == []


@pytest.mark.parametrize(
    ("status", "misconfigured"),
    [(400, True), (401, True), (403, True), (404, True), (429, False), (500, False), (503, False)],
)
@pytest.mark.parametrize("channel", ["sms", "whatsapp"])
async def test_ping_says_whether_the_operator_is_needed(infobip, on, channel, status, misconfigured):
    infobip.failure = emulator.answer(status)

    async with on(channel) as plugin:
        with pytest.raises(Unavailable) as raised:
            await plugin.ping()

    assert raised.value.misconfigured is misconfigured


@pytest.mark.parametrize(
    "templates",
    [
        [],
        [{"name": "news", "language": "en_GB", "status": "PENDING"}],
        [{"name": "news", "language": "en", "status": "APPROVED"}, "news", None],
        [{"name": "others", "language": "en_GB", "status": "APPROVED"}],
        # As many as a large account has.
        [{"name": "others", "language": "en_GB", "status": "APPROVED", "structure": "x" * 1_000}] * 500,
    ],
)
async def test_ping_misses_a_template_that_whatsapp_has_not_approved(infobip, on, templates):
    infobip.templates = templates

    async with on("whatsapp") as plugin:
        with pytest.raises(Unavailable, match="no approved template of this name and language") as raised:
            await plugin.ping()

    assert (raised.value.code, raised.value.misconfigured) == ("EC_INVALID_TEMPLATE", True)


async def test_a_list_of_templates_that_is_cut_short_says_nothing(infobip, on):
    infobip.templates = [{"name": "other" * 1_000, "language": "en", "status": "APPROVED"}] * 250

    async with on("whatsapp") as plugin:
        await plugin.ping()


async def test_nothing_of_the_recipient_or_the_key_is_logged(infobip, plugin, sms, caplog):
    caplog.set_level(logging.DEBUG)
    await plugin.send_sms(sms())
    said = []
    for fault in (emulator.answer(400), emulator.answer(503), emulator.close_after_body(taken=True)):
        infobip.plan(fault)
        with pytest.raises((Rejected, Unavailable, Uncertain)) as raised:
            await plugin.send_sms(sms(idempotency_key="2"))
        said.append(repr(raised.value))

    output = caplog.text + repr([vars(record) for record in caplog.records]) + "".join(said)
    assert DIGITS not in output
    assert infobip.api_key not in output
    assert infobip.webhook_token not in output
