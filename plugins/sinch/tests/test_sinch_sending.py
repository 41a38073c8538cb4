"""The sends: their batches, and what each answer means."""

import re
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from aiohttp import web

from gatepost.errors import Rejected, Unavailable, Uncertain
from gatepost.model import Receipt, Secret
from gatepost.testing import emulator
from gatepost.testing.webhook_requests import WEBHOOK_URL
from gatepost_sinch.batches import ACCOUNT_CODES, MESSAGE_CODES, batch_of

# What Sinch's documentation lists as the codes of 400 and 403.
CODES = {
    *("syntax_invalid_json", "syntax_invalid_parameter_format", "syntax_constraint_violation"),
    *("unknown_group", "unknown_campaign", "missing_callback_url", "blocked_account", "illegal_number_type"),
}


def path(provider):
    return f"/xms/v1/{provider.service_plan_id}/batches"


async def test_a_message_is_a_batch_of_one_recipient(provider, plugin, sms):
    message = sms("Grüße 👋")

    receipt = await plugin.send_sms(message)

    [taken] = provider.taken
    assert receipt == Receipt(taken.provider_id)
    assert taken.message == {
        "expire_at": taken.message["expire_at"],
        "from": "Amazing",
        "to": ["+447700900123"],
        "type": "mt_text",
        "body": "Grüße 👋",
        "delivery_report": "per_recipient",
        "callback_url": WEBHOOK_URL,
        "client_reference": message.id,
    }
    assert taken.headers["Authorization"] == f"Bearer {provider.api_token}"
    assert provider.requests == [("POST", path(provider))]


@pytest.mark.parametrize(
    ("lifetime", "seconds"),
    [(0.5, 60), (60, 60), (90.9, 90.9), (259_200, 258_900), (10.0**9, 258_900)],
)
def test_the_end_is_within_what_sinch_allows(sms, lifetime, seconds):
    before = datetime.now(UTC)
    batch = msgspec.json.decode(batch_of(sms(lifetime=lifetime), default_sender="", callback_url=""))
    after = datetime.now(UTC)

    ends = datetime.fromisoformat(batch["expire_at"])
    # Milliseconds are all that it can tell.
    assert before - timedelta(milliseconds=1) <= ends - timedelta(seconds=seconds) <= after
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", batch["expire_at"])


async def test_without_a_public_url_the_service_plans_own_serves(provider, running, sms):
    async with running(context={"webhook_url": ""}) as plugin:
        await plugin.send_sms(sms())

    assert "callback_url" not in provider.taken[0].message


async def test_an_instance_that_accepts_no_reports_asks_for_none(provider, running, sms):
    provider.has_callback_url = False
    async with running(webhook_secret=None) as plugin:
        await plugin.send_sms(sms())

    assert not provider.taken[0].message.keys() & {"callback_url", "delivery_report"}


async def test_without_any_address_for_reports_the_operator_must_set_one(provider, running, sms):
    provider.has_callback_url = False
    async with running(context={"webhook_url": ""}) as plugin:
        outcome = await outcome_of(plugin, sms())

    assert (outcome.misconfigured, outcome.code) == (True, "missing_callback_url")


@pytest.mark.parametrize("sender", ["Amazing", "AB 12345678", "60606", "+447700900999", "447700900999000"])
async def test_a_sender_is_sent_as_it_is(provider, plugin, sms, sender):
    await plugin.send_sms(sms(sender=sender))

    assert provider.taken[0].message["from"] == sender


@pytest.mark.parametrize("sender", ["ABCDEFGHIJKL", " A", "Café", "a-b", "4477009009990001", "Amazing\n"])
async def test_a_sender_that_sinch_refuses_causes_no_request(provider, plugin, sms, sender):
    with pytest.raises(Rejected, match="Sinch does not accept the sender") as refusal:
        await plugin.send_sms(sms(sender=sender))

    assert refusal.value.code == "syntax_invalid_parameter_format"
    assert sender not in str(refusal.value)
    assert provider.requests == []


async def test_the_default_sender_serves_a_message_without_one(provider, running, sms):
    async with running(default_sender="Amazing") as plugin:
        await plugin.send_sms(sms(sender=None))

    assert provider.taken[0].message["from"] == "Amazing"


async def test_without_any_sender_sinch_chooses_or_refuses(provider, plugin, sms):
    with pytest.raises(Rejected) as refusal:
        await plugin.send_sms(sms(sender=None))
    assert refusal.value.code == "syntax_constraint_violation"

    provider.default_originator = True
    await plugin.send_sms(sms(sender=None))
    assert "from" not in provider.taken[0].message


@pytest.mark.parametrize("text", ["\ud800 canary", "canary \udfff"])
async def test_half_a_character_is_rejected_without_a_request(provider, plugin, sms, text):
    with pytest.raises(Rejected, match="half of a Unicode character") as refusal:
        await plugin.send_sms(sms(text))

    assert refusal.value.__context__ is None
    assert provider.requests == []


@pytest.mark.parametrize(("text", "code"), [("x" * 2001, "syntax_constraint_violation"), ("x" * 2000, "")])
async def test_a_text_that_is_too_long_is_refused_by_sinch(provider, plugin, sms, text, code):
    outcome = await outcome_of(plugin, sms(text))

    assert getattr(outcome, "code", "") == code
    assert isinstance(outcome, Rejected if code else Receipt)


@pytest.mark.parametrize("number", ["+0447700900123", "+44770", "+4477009001234567"])
async def test_a_number_that_sinch_can_not_reach_is_rejected(plugin, sms, number):
    outcome = await outcome_of(plugin, sms(recipient=Secret(number)))

    assert isinstance(outcome, Rejected)
    assert outcome.code == "syntax_invalid_parameter_format"
    assert number.strip("+") not in str(outcome)


def answering(provider, monkeypatch, status, body):
    async def answer_to(_request, _body):
        return web.json_response(body, status=status)

    monkeypatch.setattr(provider, "answer_to", answer_to)


async def outcome_of(plugin, message):
    try:
        return await plugin.send_sms(message)
    except (Rejected, Unavailable, Uncertain) as error:
        outcome = error
    assert "canary" not in f"{outcome} {outcome.code}"
    return outcome


def test_every_documented_code_is_in_a_table():
    assert MESSAGE_CODES | ACCOUNT_CODES == CODES
    assert not MESSAGE_CODES & ACCOUNT_CODES


@pytest.mark.parametrize("code", sorted(MESSAGE_CODES))
@pytest.mark.parametrize("status", [400, 403])
async def test_a_fault_of_the_message_is_final(provider, plugin, sms, monkeypatch, status, code):
    answering(provider, monkeypatch, status, {"code": code, "text": "about canary"})

    outcome = await outcome_of(plugin, sms())

    assert isinstance(outcome, Rejected)
    assert outcome.code == code


@pytest.mark.parametrize("code", sorted(ACCOUNT_CODES))
@pytest.mark.parametrize("status", [400, 403])
async def test_a_fault_of_the_account_is_for_the_operator(provider, plugin, sms, monkeypatch, status, code):
    answering(provider, monkeypatch, status, {"code": code, "text": "about canary"})

    outcome = await outcome_of(plugin, sms())

    assert isinstance(outcome, Unavailable)
    assert (outcome.misconfigured, outcome.code) == (True, code)
    # A campaign belongs to a sender: the messages of others go on.
    assert outcome.content_only is (code == "unknown_campaign")


@pytest.mark.parametrize(
    ("status", "kind", "misconfigured"),
    [
        (400, Rejected, None),
        (413, Rejected, None),
        (401, Unavailable, True),
        (402, Unavailable, True),
        (403, Unavailable, True),
        (404, Unavailable, True),
        (405, Unavailable, True),
        (415, Unavailable, True),
        (429, Unavailable, False),
        (500, Unavailable, False),
        (503, Unavailable, False),
        (307, Unavailable, True),
        (200, Uncertain, None),
        (202, Uncertain, None),
    ],
)
@pytest.mark.parametrize("body", [{"code": "canary"}, {"code": "brand_new"}, {"code": 7}, ["canary"], None])
async def test_a_status_without_a_code_of_a_table_decides(
    provider, plugin, sms, monkeypatch, status, kind, misconfigured, body
):
    answering(provider, monkeypatch, status, body)

    outcome = await outcome_of(plugin, sms())

    assert type(outcome) is kind
    assert outcome.code == str(status)
    assert getattr(outcome, "misconfigured", None) == misconfigured


@pytest.mark.parametrize("status", [401, 404, 500])
async def test_a_code_of_the_message_counts_only_where_sinch_writes_one(
    provider, plugin, sms, monkeypatch, status
):
    answering(provider, monkeypatch, status, {"code": "syntax_constraint_violation"})

    assert isinstance(await outcome_of(plugin, sms()), Unavailable)


@pytest.mark.parametrize("body", [{}, [], "ok", None, {"id": None}, {"id": "a b"}, {"id": 7}])
async def test_a_success_without_an_id_is_uncertain(provider, plugin, sms, monkeypatch, body):
    answering(provider, monkeypatch, 201, body)

    assert isinstance(await outcome_of(plugin, sms()), Uncertain)


async def test_too_many_requests_make_a_pause(provider, plugin, sms):
    provider.plan(emulator.answer(429, {"Retry-After": "7"}))

    assert (await outcome_of(plugin, sms())).retry_after == 7.0


@pytest.mark.parametrize(
    ("keys", "code"),
    [({"api_token": "of another region"[:2]}, "401"), ({"service_plan_id": "other"}, "404")],
)
async def test_a_token_of_another_service_plan_is_for_the_operator(running, sms, keys, code):
    async with running(**keys) as plugin:
        for call in (plugin.ping(), plugin.send_sms(sms())):
            with pytest.raises(Unavailable) as refusal:
                await call
            assert (refusal.value.misconfigured, refusal.value.code) == (True, code)


async def test_an_account_out_of_credit_is_for_the_operator(provider, plugin, sms):
    provider.blocked = True

    outcome = await outcome_of(plugin, sms())

    assert isinstance(outcome, Unavailable)
    assert (outcome.misconfigured, outcome.code) == (True, "blocked_account")


async def test_a_ping_lists_batches_and_sends_nothing(provider, plugin):
    await plugin.ping()

    assert provider.requests == [("GET", path(provider))]
    assert provider.taken == []


@pytest.mark.parametrize(("status", "misconfigured"), [(400, True), (403, True), (429, False), (503, False)])
async def test_a_ping_that_fails_says_who_can_mend_it(provider, plugin, status, misconfigured):
    provider.plan(emulator.answer(status))

    with pytest.raises(Unavailable) as refusal:
        await plugin.ping()

    assert refusal.value.misconfigured is misconfigured
