"""The sends: their requests, and what each answer means."""

import uuid

import pytest
from aiohttp import web

from gatepost.errors import Rejected, Unavailable, Uncertain
from gatepost.model import Mailbox, Receipt, Secret
from gatepost.testing import emulator
from gatepost_brevo.answers import CODES

MAIL = ("POST", "/v3/smtp/email")
TEXT = ("POST", "/v3/transactionalSMS/sms")
KEY = "7d0c0a52-6a0f-4a3c-9d27-0f4b8d1b6f11"

ACCOUNT = {
    *("unauthorized", "permission_denied", "account_under_validation", "not_enough_credits"),
    *("method_not_allowed", "document_not_found"),
}
MESSAGE = {
    *("invalid_parameter", "missing_parameter", "out_of_range", "bad_request", "not_acceptable"),
    *("unprocessable_entity", "campaign_processing", "campaign_sent"),
}
DUPLICATE = {"duplicate_parameter", "duplicate_request"}


async def test_a_mail_has_all_its_parts(provider, plugin, email):
    message = email(
        reply_to=Mailbox("help@brand.example", "Help"),
        headers={"List-Unsubscribe": "<https://gateway.example/u/1>"},
        tags=["smartico", "news"],
        idempotency_key=KEY,
    )

    receipt = await plugin.send_email(message)

    [taken] = provider.taken
    assert receipt == Receipt(taken.provider_id.strip("<>"))
    assert taken.message == {
        "sender": {"email": "news@brand.example", "name": "Brand"},
        "to": [{"email": "canary.4711@mail.example"}],
        "subject": "Grüße 🎲",
        "htmlContent": "<p>Hello</p>",
        "textContent": "Hello",
        "replyTo": {"email": "help@brand.example", "name": "Help"},
        "headers": {
            "List-Unsubscribe": "<https://gateway.example/u/1>",
            "X-Mailin-custom": message.id,
            "idempotencyKey": KEY,
        },
        "tags": ["smartico", "news"],
    }
    assert taken.headers["api-key"] == provider.api_key
    assert provider.requests == [MAIL]


async def test_a_mail_without_the_optional_parts_leaves_them_out(provider, plugin, email):
    await plugin.send_email(email(sender=Mailbox("news@brand.example"), text=""))

    assert provider.taken[0].message.keys() == {"sender", "to", "subject", "htmlContent", "headers"}
    assert provider.taken[0].message["sender"] == {"email": "news@brand.example"}


@pytest.mark.parametrize("key", [f"{KEY}-1", f"{KEY}-12-2", ""])
async def test_a_key_that_is_no_uuid_becomes_one_and_always_the_same(provider, plugin, email, key):
    for number in range(3):
        await plugin.send_email(email(id=f"{KEY[:-1]}{number}", idempotency_key=key and f"{key}-{number}"))
    await plugin.send_email(email(id=f"{KEY[:-1]}0", idempotency_key=key and f"{key}-0"))

    keys = [taken.message["headers"]["idempotencyKey"] for taken in provider.taken]
    assert len(set(keys)) == len(keys) == 3
    assert all(str(uuid.UUID(one)) == one for one in keys)
    assert [refusal.status for refusal in provider.refused] == [400]


async def test_a_repeat_that_brevo_drops_is_a_success(provider, plugin, email):
    message = email(idempotency_key=KEY)
    await plugin.send_email(message)

    assert await plugin.send_email(message) == Receipt()
    assert provider.sends(message.id) == 1


async def test_only_mails_are_safe_to_repeat(plugin, texting):
    assert plugin.replay_safe == 840.0
    assert plugin.send_sms is None
    async with texting() as other:
        assert other.replay_safe == 0.0
        assert other.send_email is None
    assert plugin.retry_status == other.retry_status == 429


async def test_a_text_message_has_all_its_parts(texts, texting, sms):
    async with texting(category="marketing") as plugin:
        receipt = await plugin.send_sms(sms("Grüße 👋", tags=["smartico", "news"]))

    [taken] = texts.taken
    assert receipt == Receipt(taken.provider_id, parts=1)
    password = texts.login.password.reveal()
    assert taken.message == {
        "sender": "Amazing",
        "recipient": "447700900123",
        "content": "Grüße 👋",
        "type": "marketing",
        "unicodeEnabled": True,
        "tag": ["smartico", "news"],
        "webUrl": f"https://brevo:{password}@gateway.example/webhooks/conformance?id={taken.id}",
    }
    assert texts.requests == [TEXT]


async def test_a_text_message_names_no_url_without_a_password_or_a_public_host(texts, texting, sms):
    async with texting(webhook_basic=None, webhook_token="token") as plugin:
        await plugin.send_sms(sms())
    async with texting({"webhook_url": ""}) as plugin:
        await plugin.send_sms(sms())

    assert [taken.message.get("webUrl") for taken in texts.taken] == [None, None]


async def test_a_password_is_encoded_in_the_url(texts, texting, sms):
    texts.login = type(texts.login)(username="br@vo", password=Secret("p:/@?#ä"))
    async with texting() as plugin:
        await plugin.send_sms(sms())

    assert "//br%40vo:p%3A%2F%40%3F%23%C3%A4@gateway.example/" in texts.taken[0].message["webUrl"]


@pytest.mark.parametrize(("text", "parts"), [("x" * 160, 1), ("x" * 161, 2), ("Привет" * 12, 2)])
async def test_the_parts_are_those_of_the_answer(texting, sms, text, parts):
    async with texting() as plugin:
        assert (await plugin.send_sms(sms(text))).parts == parts


@pytest.mark.parametrize(
    ("sender", "expected"),
    [("Amazing", "Amazing"), ("+447700900999", "447700900999"), ("447700900999000", "447700900999000")],
)
async def test_a_sender_is_sent_as_brevo_wants_it(texts, texting, sms, sender, expected):
    async with texting() as plugin:
        await plugin.send_sms(sms(sender=sender))

    assert texts.taken[0].message["sender"] == expected


async def test_the_default_sender_serves_a_message_without_one(texts, texting, sms):
    async with texting(default_sender="Amazing") as plugin:
        await plugin.send_sms(sms(sender=None))

    assert texts.taken[0].message["sender"] == "Amazing"


@pytest.mark.parametrize("sender", ["ABCDEFGHIJKL", "A B", "Café", "4477009009990001", "Amazing\n", None])
async def test_a_sender_that_brevo_refuses_causes_no_request(texts, texting, sms, sender):
    async with texting() as plugin:
        with pytest.raises(Rejected, match="sender") as refusal:
            await plugin.send_sms(sms(sender=sender))

    assert refusal.value.code == "invalid_parameter"
    assert not sender or sender not in str(refusal.value)
    assert texts.requests == []


async def test_half_a_character_is_rejected_without_a_request_and_is_not_quoted(provider, plugin, email):
    with pytest.raises(Rejected, match="half of a Unicode character") as refusal:
        await plugin.send_email(email(text="\ud800 canary"))

    assert refusal.value.__context__ is None
    assert provider.requests == []


@pytest.mark.parametrize("fields", [{"subject": ""}, {"html": ""}])
async def test_a_mail_that_lacks_what_brevo_requires_is_rejected(provider, plugin, email, fields):
    with pytest.raises(Rejected, match="400") as refusal:
        await plugin.send_email(email(**fields))

    assert refusal.value.code == "missing_parameter"


def answering(provider, monkeypatch, status, body, headers=None):
    async def answer_to(_request, _body):
        return web.json_response(body, status=status, headers=headers)

    monkeypatch.setattr(provider, "answer_to", answer_to)


async def outcome_of(send, message):
    try:
        return await send(message)
    except (Rejected, Unavailable, Uncertain) as error:
        outcome = error
    assert "canary" not in f"{outcome} {outcome.code}"
    return outcome


def test_every_documented_code_is_in_the_table():
    assert CODES == ACCOUNT | MESSAGE | DUPLICATE


@pytest.mark.parametrize("code", sorted(ACCOUNT))
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405])
async def test_a_fault_of_the_account_is_for_the_operator(provider, plugin, email, monkeypatch, status, code):
    answering(provider, monkeypatch, status, {"code": code, "message": "about canary@mail.example"})

    outcome = await outcome_of(plugin.send_email, email())

    assert isinstance(outcome, Unavailable)
    assert (outcome.misconfigured, outcome.content_only, outcome.code) == (True, False, code)


@pytest.mark.parametrize("code", sorted(MESSAGE))
async def test_a_fault_of_the_message_is_final(provider, plugin, email, monkeypatch, code):
    answering(provider, monkeypatch, 400, {"code": code, "message": "about canary@mail.example"})

    outcome = await outcome_of(plugin.send_email, email())

    assert isinstance(outcome, Rejected)
    assert outcome.code == code


@pytest.mark.parametrize("code", sorted(DUPLICATE))
async def test_a_duplicate_is_our_first_try_only_where_there_is_a_key(
    provider, plugin, texts, texting, email, sms, monkeypatch, code
):
    answering(provider, monkeypatch, 400, {"code": code, "message": "canary"})
    answering(texts, monkeypatch, 400, {"code": code, "message": "canary"})

    assert await outcome_of(plugin.send_email, email()) == Receipt()
    async with texting() as other:
        outcome = await outcome_of(other.send_sms, sms())
    assert isinstance(outcome, Uncertain)
    assert outcome.code == code


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, Rejected, "400"),
        (413, Rejected, "413"),
        (401, Unavailable, "401"),
        (402, Unavailable, "402"),
        (403, Unavailable, "403"),
        (404, Unavailable, "404"),
        (408, Unavailable, "408"),
        (425, Unavailable, "425"),
        (500, Unavailable, "500"),
        (503, Unavailable, "503"),
        (200, Uncertain, "200"),
        (204, Uncertain, "204"),
        (307, Unavailable, "307"),
    ],
)
@pytest.mark.parametrize("body", [{"code": "canary@mail.example"}, {"code": 7}, ["canary"], None])
async def test_a_status_without_a_code_of_the_table_decides(
    provider, plugin, email, monkeypatch, status, kind, code, body
):
    answering(provider, monkeypatch, status, body)

    outcome = await outcome_of(plugin.send_email, email())

    assert type(outcome) is kind
    assert outcome.code == code


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"x-sib-ratelimit-reset": "12"}, 12.0),
        ({"x-sib-ratelimit-reset": "12", "Retry-After": "7"}, 7.0),
        ({"x-sib-ratelimit-reset": "soon"}, None),
        ({"x-sib-ratelimit-reset": "٣"}, None),
        ({}, None),
    ],
)
async def test_the_pause_that_brevo_asks_for_is_passed_on(provider, plugin, email, headers, pause):
    provider.plan(emulator.answer(429, headers))

    outcome = await outcome_of(plugin.send_email, email())

    assert isinstance(outcome, Unavailable)
    assert outcome.retry_after == pause
    assert not outcome.misconfigured


@pytest.mark.parametrize(
    "body", [{}, [], "ok", None, {"messageId": None}, {"messageId": "a b"}, {"messageId": {}}]
)
async def test_a_success_without_an_id_is_uncertain(provider, plugin, email, monkeypatch, body):
    answering(provider, monkeypatch, 201, body)

    outcome = await outcome_of(plugin.send_email, email())

    assert isinstance(outcome, Uncertain)


@pytest.mark.parametrize(
    "extra",
    [
        *({"smsCount": parts} for parts in (0, -1, 256, 10**30, None, "2", 1.5, True, [])),
        {"code": None, "message": 7},
    ],
)
async def test_a_message_that_brevo_took_is_taken_whatever_else_the_answer_holds(
    texts, texting, sms, monkeypatch, extra
):
    answering(texts, monkeypatch, 201, {"messageId": 7, **extra})

    async with texting() as plugin:
        assert await outcome_of(plugin.send_sms, sms()) == Receipt("7")


@pytest.mark.parametrize("message", [None, 7, ["canary"], {"text": "canary"}])
async def test_a_code_counts_whatever_form_the_text_beside_it_has(
    provider, plugin, email, monkeypatch, message
):
    answering(provider, monkeypatch, 400, {"code": "duplicate_parameter", "message": message})
    assert await outcome_of(plugin.send_email, email()) == Receipt()

    answering(provider, monkeypatch, 400, {"code": "not_enough_credits", "message": message})
    assert (await outcome_of(plugin.send_email, email())).misconfigured


@pytest.mark.parametrize(
    "message", ["canary@sender.example is not valid", "email <sender.canary@mail.example>"]
)
async def test_an_address_that_has_the_word_sender_is_no_sender(
    provider, plugin, email, monkeypatch, message
):
    answering(provider, monkeypatch, 400, {"code": "invalid_parameter", "message": message})

    assert isinstance(await outcome_of(plugin.send_email, email()), Rejected)


async def test_a_key_of_another_account_is_for_the_operator(provider, running, email):
    async with running(api_key="xkeysib-other") as plugin:
        for call in (plugin.ping(), plugin.send_email(email())):
            with pytest.raises(Unavailable, match="401") as refusal:
                await call
            assert (refusal.value.misconfigured, refusal.value.code) == (True, "unauthorized")


async def test_an_account_that_is_not_approved_yet_is_for_the_operator(provider, plugin, email):
    provider.is_active = False

    with pytest.raises(Unavailable) as refusal:
        await plugin.send_email(email())

    assert (refusal.value.misconfigured, refusal.value.code) == (True, "account_under_validation")


async def test_an_account_out_of_credit_is_for_the_operator(texts, texting, sms):
    texts.credits = 0.0

    async with texting() as plugin:
        with pytest.raises(Unavailable) as refusal:
            await plugin.send_sms(sms())

    assert (refusal.value.misconfigured, refusal.value.code) == (True, "not_enough_credits")


async def test_a_sender_that_is_not_verified_stops_only_its_own_messages(
    provider, plugin, texts, texting, email, sms
):
    provider.senders = frozenset({"other@brand.example"})
    texts.senders = frozenset({"Other"})

    with pytest.raises(Unavailable, match="does not know this sender") as refusal:
        await plugin.send_email(email())
    async with texting() as other:
        with pytest.raises(Unavailable, match="does not know this sender"):
            await other.send_sms(sms())

    assert refusal.value.misconfigured
    assert refusal.value.content_only
    assert refusal.value.code == "invalid_parameter sender"


@pytest.mark.parametrize(
    "body", [{"code": "missing_parameter", "message": "sender is missing"}, {"message": "sender"}]
)
async def test_only_an_invalid_sender_is_an_unknown_one(provider, plugin, email, monkeypatch, body):
    answering(provider, monkeypatch, 400, body)

    assert isinstance(await outcome_of(plugin.send_email, email()), Rejected)


async def test_a_number_that_brevo_can_not_reach_is_rejected(texts, texting, sms):
    async with texting() as plugin:
        with pytest.raises(Rejected) as refusal:
            await plugin.send_sms(sms(recipient=Secret("+4477009001234567")))

    assert refusal.value.code == "invalid_parameter"
    assert "4477009001234567" not in str(refusal.value)


async def test_a_ping_reads_the_account_and_sends_nothing(provider, plugin):
    await plugin.ping()

    assert provider.requests == [("GET", "/v3/account")]
    assert provider.taken == []


@pytest.mark.parametrize(("status", "misconfigured"), [(400, True), (404, True), (429, False), (500, False)])
async def test_a_ping_that_fails_says_who_can_mend_it(provider, plugin, status, misconfigured):
    provider.plan(emulator.answer(status))

    with pytest.raises(Unavailable) as refusal:
        await plugin.ping()

    assert refusal.value.misconfigured is misconfigured
