"""The sends: their requests, and what the answers mean."""

import json
from decimal import Decimal

import pytest
from aiohttp import web

from gatepost.errors import Rejected, Unavailable, Uncertain
from gatepost.model import Receipt, Secret, Status
from gatepost.testing import emulator
from gatepost.testing.fixtures import MESSAGE_ID, SMS_RECIPIENT
from gatepost.testing.webhook_requests import WEBHOOK_URL

SERVICE = "MG" + "0" * 31 + "1"
CALLBACK = f"{WEBHOOK_URL}?id={MESSAGE_ID}#rc=5&rp=all"


async def test_a_text_message_leaves_as_a_form(twilio, plugin, sms):
    receipt = await plugin.send_sms(sms("50 % & more: ж", sender=None))

    [taken] = twilio.taken
    assert taken.message == {
        "To": SMS_RECIPIENT,
        "Body": "50 % & more: ж",
        "From": "Amazing",
        "ValidityPeriod": "3600",
        "StatusCallback": CALLBACK,
    }
    assert receipt == Receipt(taken.provider_id, parts=1)
    assert twilio.requests == [("POST", f"/2010-04-01/Accounts/{twilio.account_sid}/Messages.json")]


async def test_a_whatsapp_message_is_the_template_with_the_text_as_its_variable(
    twilio, running, whatsapp, sms
):
    async with running(**whatsapp) as plugin:
        receipt = await plugin.send_sms(sms('Your "code" is 1234 ж 👋', sender="Amazing"))

    [taken] = twilio.taken
    variables = taken.message.pop("ContentVariables")
    assert taken.message == {
        "To": f"whatsapp:{SMS_RECIPIENT}",
        "From": "whatsapp:+447700900999",
        "ContentSid": twilio.template,
        "ValidityPeriod": "3600",
        "StatusCallback": CALLBACK,
    }
    assert json.loads(variables) == {"1": 'Your "code" is 1234 ж 👋'}
    assert receipt.provider_id == taken.provider_id


async def test_without_a_public_url_no_callback_is_named(twilio, running, sms):
    async with running(context={"webhook_url": ""}) as plugin:
        await plugin.send_sms(sms())

    assert "StatusCallback" not in twilio.taken[0].message


@pytest.mark.parametrize("text", ["x" * 161, "ж" * 71])
async def test_the_parts_of_a_message_are_as_twilio_counts_them(plugin, sms, text):
    assert (await plugin.send_sms(sms(text))).parts == 2


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        ("-0.00790", (Decimal("0.00790"), "USD")),
        ("1", (Decimal(1), "USD")),
        (None, (None, "")),
        ("free", (None, "")),
        ("-0.12345678", (None, "")),
        ("٧", (None, "")),
    ],
)
async def test_a_price_is_passed_on_where_twilio_knows_it(twilio, plugin, sms, price, expected):
    twilio.price = price
    receipt = await plugin.send_sms(sms())

    assert (receipt.price, receipt.currency) == expected


@pytest.mark.parametrize(
    ("keys", "sender", "expected"),
    [
        ({"default_sender": ""}, None, {"MessagingServiceSid": SERVICE}),
        ({}, None, {"MessagingServiceSid": SERVICE, "From": "Amazing"}),
        ({}, "+447700900111", {"MessagingServiceSid": SERVICE, "From": "+447700900111"}),
    ],
)
async def test_a_messaging_service_chooses_the_sender_where_there_is_none(
    twilio, running, sms, keys, sender, expected
):
    async with running(messaging_service=SERVICE, **keys) as plugin:
        receipt = await plugin.send_sms(sms(sender=sender))

    form = twilio.taken[0].message
    assert {name: form[name] for name in ("MessagingServiceSid", "From") if name in form} == expected
    # The service has not chosen a sender yet, and so does not know the parts.
    assert receipt.parts == 0


async def test_a_messaging_service_can_be_the_sender_on_whatsapp(twilio, running, whatsapp, sms):
    async with running(**{**whatsapp, "default_sender": "", "messaging_service": SERVICE}) as plugin:
        await plugin.send_sms(sms())

    assert "From" not in twilio.taken[0].message
    assert twilio.taken[0].message["MessagingServiceSid"] == SERVICE


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        ("+447700900111", "+447700900111"),
        ("447700900111", "+447700900111"),
        ("60606", "60606"),
        ("Amazing 1", "Amazing 1"),
        ("B&B-Bet_+", "B&B-Bet_+"),
        ("ABCDEFGHIJK", "ABCDEFGHIJK"),
    ],
)
async def test_smarticos_sender_is_sent_as_twilio_expects_it(twilio, plugin, sms, sender, expected):
    await plugin.send_sms(sms(sender=sender))

    assert twilio.taken[0].message["From"] == expected


@pytest.mark.parametrize(
    "sender", ["ABCDEFGHIJKL", "Café", "12", "00447700900111", "a\n", "٤٤٧٧٠٠٩٠٠١١١", " 1 "]
)
async def test_an_invalid_sender_is_rejected_without_a_request(twilio, plugin, sms, sender):
    with pytest.raises(Rejected, match="Twilio does not accept the sender: it must be") as refusal:
        await plugin.send_sms(sms(sender=sender))

    assert refusal.value.code == "21212"
    assert sender not in str(refusal.value)
    assert twilio.requests == []


async def test_a_message_without_a_sender_is_rejected(twilio, running, sms):
    async with running(default_sender="") as plugin:
        with pytest.raises(Rejected, match="set default_sender") as refusal:
            await plugin.send_sms(sms(sender=None))

    assert refusal.value.code == "21212"
    assert twilio.requests == []


@pytest.mark.parametrize(
    ("lifetime", "period"), [(0.5, "1"), (90.9, "90"), (36_000.0, "36000"), (10e6, "36000")]
)
async def test_the_validity_is_within_twilios_limits(twilio, plugin, sms, lifetime, period):
    await plugin.send_sms(sms(lifetime=lifetime))

    assert twilio.taken[0].message["ValidityPeriod"] == period


@pytest.mark.parametrize("channel", ["sms", "whatsapp"])
@pytest.mark.parametrize("character", ["x", "ж", "😀"])
async def test_the_longest_text_is_sent(twilio, running, whatsapp, sms, channel, character):
    async with running(**(whatsapp if channel == "whatsapp" else {})) as plugin:
        await plugin.send_sms(sms(character * 1_600))
        with pytest.raises(Rejected, match="longer than the 1,600 characters") as refusal:
            await plugin.send_sms(sms(character * 1_601))

    assert refusal.value.code == "21617"
    assert len(twilio.requests) == 1


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "\ta", "a     b", "  ", "\ud800"])
async def test_what_a_template_cannot_carry_is_rejected_without_a_request(
    twilio, running, whatsapp, sms, text
):
    async with running(**whatsapp) as plugin:
        with pytest.raises(Rejected, match="WhatsApp does not accept the text in a template") as refusal:
            await plugin.send_sms(sms(text))

    assert (refusal.value.code, refusal.value.__context__) == ("21656", None)
    assert twilio.requests == []


async def test_half_a_character_is_rejected_without_a_request(twilio, plugin, sms):
    with pytest.raises(Rejected, match="half a character"):
        await plugin.send_sms(sms("\ud800"))

    assert twilio.requests == []


@pytest.mark.parametrize(
    ("number", "outcome", "fields"),
    [
        ("+15005550001", Rejected, {"code": "21211", "status": None}),
        ("+15005550002", Unavailable, {"code": "21612", "misconfigured": False, "message_only": True}),
        ("+15005550003", Unavailable, {"code": "21408", "misconfigured": True, "content_only": True}),
        ("+15005550004", Rejected, {"code": "21610", "status": Status.UNSUBSCRIBED}),
        ("+15005550009", Rejected, {"code": "21614", "status": None}),
    ],
)
async def test_each_recipient_that_twilio_reserves_for_tests(twilio, plugin, sms, number, outcome, fields):
    with pytest.raises(outcome) as raised:
        await plugin.send_sms(sms(recipient=Secret(number)))

    assert {name: getattr(raised.value, name) for name in fields} == fields
    assert twilio.taken == []


@pytest.mark.parametrize(
    ("number", "code", "fields"),
    [
        ("+15005550007", "21606", {"misconfigured": True, "content_only": True}),
        ("+15005550008", "21611", {"misconfigured": False, "content_only": True}),
    ],
)
async def test_each_sender_that_twilio_reserves_for_tests(plugin, sms, number, code, fields):
    with pytest.raises(Unavailable) as raised:
        await plugin.send_sms(sms(sender=number))

    assert raised.value.code == code
    assert {name: getattr(raised.value, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({"account_sid": "AC" + "0" * 32}, "20404"),
        ({"api_key": {"username": "SK" + "0" * 32, "password": "of another region"}}, "20003"),
        ({"api_key": None, "auth_token": "another"}, "20003"),
    ],
)
async def test_wrong_credentials_are_misconfigured(running, sms, keys, code):
    async with running(**keys) as plugin:
        for call in (plugin.send_sms(sms()), plugin.ping()):
            with pytest.raises(Unavailable) as raised:
                await call

            assert raised.value.misconfigured
            assert not raised.value.content_only
            assert raised.value.code == code


async def test_without_an_api_key_the_account_signs_in(twilio, running, sms):
    async with running(api_key=None) as plugin:
        await plugin.ping()
        await plugin.send_sms(sms())

    assert len(twilio.taken) == 1


async def test_a_template_that_is_missing_is_misconfigured(running, whatsapp, sms):
    async with running(**{**whatsapp, "template": "HX" + "0" * 32}) as plugin:
        with pytest.raises(Unavailable, match="check template") as raised:
            await plugin.send_sms(sms())

    assert (raised.value.code, raised.value.misconfigured) == ("21655", True)


@pytest.mark.parametrize(
    ("fault", "outcome", "fields"),
    [
        (emulator.answer(429, {"Retry-After": "7"}), Unavailable, {"code": "20429", "retry_after": 7.0}),
        (emulator.answer(200), Uncertain, {"code": "200"}),
        (emulator.answer(503), Unavailable, {"code": "20503", "misconfigured": False}),
        # Their HTTP status says what these mean.
        (emulator.answer(500, reason="20003"), Unavailable, {"code": "20003", "misconfigured": False}),
        (emulator.answer(400, reason="29999"), Rejected, {"code": "29999"}),
        (emulator.answer(403, reason="29999"), Unavailable, {"code": "29999", "misconfigured": True}),
        (emulator.answer(400, reason="447700900123"), Rejected, {"code": "400"}),
    ],
)
async def test_each_answer_has_its_outcome(twilio, plugin, sms, fault, outcome, fields):
    twilio.plan(fault)
    with pytest.raises(outcome) as raised:
        await plugin.send_sms(sms())

    assert {name: getattr(raised.value, name) for name in fields} == fields


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{}", b'{"sid": 7}', b'{"sid": "' + b"x" * 256 + b'"}']
)
async def test_an_answer_without_an_id_is_uncertain(twilio, plugin, sms, body, monkeypatch):
    async def answer_to(_request, _body):
        return web.Response(status=201, body=body)

    monkeypatch.setattr(twilio, "answer_to", answer_to)

    with pytest.raises(Uncertain, match="not from Twilio"):
        await plugin.send_sms(sms())


@pytest.mark.parametrize("parts", [None, 2, "many", "٢", "100", "-1", []])
async def test_odd_parts_lose_no_receipt(twilio, plugin, sms, parts, monkeypatch):
    async def answer_to(_request, _body):
        return web.json_response({"sid": "SM1", "num_segments": parts}, status=201)

    monkeypatch.setattr(twilio, "answer_to", answer_to)

    assert await plugin.send_sms(sms()) == Receipt("SM1", parts=2 if parts == 2 else 0)


async def test_ping_sees_nobodys_message(twilio, plugin, sms, monkeypatch):
    await plugin.send_sms(sms())
    answer_to, answers = twilio.answer_to, []

    async def watched(request, body):
        response = await answer_to(request, body)
        answers.append(json.loads(response.body))
        return response

    monkeypatch.setattr(twilio, "answer_to", watched)
    await plugin.ping()

    assert twilio.requests[1:] == [("GET", f"/2010-04-01/Accounts/{twilio.account_sid}/Messages.json")]
    assert [answer["messages"] for answer in answers] == [[]]


@pytest.mark.parametrize(
    ("status", "reason", "misconfigured"),
    [(403, "20005", True), (400, "21610", True), (429, "20429", False), (500, "20500", False)],
)
async def test_ping_raises_only_unavailable(twilio, plugin, status, reason, misconfigured):
    twilio.failure = emulator.answer(status, reason=reason)
    with pytest.raises(Unavailable) as raised:
        await plugin.ping()

    assert (raised.value.code, raised.value.misconfigured) == (reason, misconfigured)
