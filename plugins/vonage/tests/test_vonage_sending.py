"""The sends: their requests, and what each answer means."""

import asyncio
import logging

import pytest
from aiohttp import web

from gatepost.errors import Rejected, Unavailable, Uncertain
from gatepost.model import Receipt, Secret
from gatepost.testing import emulator

DIGITS = "447700900123"
SENT = ("POST", "/v1/messages")


async def test_an_accepted_message_has_vonages_id(vonage, plugin, sms):
    message = sms("Hello")

    receipt = await plugin.send_sms(message)

    [taken] = vonage.taken
    assert receipt == Receipt(taken.provider_id)
    assert taken.message == {
        "message_type": "text",
        "channel": "sms",
        "to": DIGITS,
        "from": "Amazing",
        "text": "Hello",
        "client_ref": message.id,
        "ttl": 3_600,
        "webhook_version": "v1",
        "sms": {"encoding_type": "text"},
    }
    assert vonage.requests == [SENT]
    assert vonage.refused == []


async def test_the_request_names_the_webhook_url_if_it_is_known(vonage, opened, sms):
    async with opened({"webhook_url": "https://gatepost.example/webhooks/v"}) as plugin:
        await plugin.send_sms(sms())

    assert vonage.taken[0].message["webhook_url"] == "https://gatepost.example/webhooks/v"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [("Grüße, 5 € {ok}", "text"), ("garçon", "unicode"), ("Привет", "unicode"), ("👋", "unicode")],
)
async def test_the_content_determines_the_encoding(vonage, plugin, sms, text, encoding):
    await plugin.send_sms(sms(text))

    assert vonage.taken[0].message["text"] == text
    assert vonage.taken[0].message["sms"] == {"encoding_type": encoding}


@pytest.mark.parametrize(
    ("lifetime", "ttl"),
    [(0.5, 20), (20.0, 20), (90.9, 90), (604_800.0, 604_800), (10_000_000.0, 604_800)],
)
async def test_the_time_to_live_is_within_vonages_limits(vonage, plugin, sms, lifetime, ttl):
    await plugin.send_sms(sms(lifetime=lifetime))

    assert vonage.taken[0].message["ttl"] == ttl


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        ("Casino", "Casino"),
        ("ABCDEFGHIJK", "ABCDEFGHIJK"),
        ("60606", "60606"),
        ("+447700900999", "447700900999"),
        ("447700900999000", "447700900999000"),
    ],
)
async def test_smarticos_sender_has_priority_over_the_default(vonage, plugin, sms, sender, expected):
    await plugin.send_sms(sms(sender=sender))

    assert vonage.taken[0].message["from"] == expected


@pytest.mark.parametrize(
    "sender",
    [
        "ABCDEFGHIJKL",
        "A B",
        "Café",
        "a-b",
        "+Abc",
        "++447700900999",
        "4477009009990001",
        "٤٤٧٧٠٠٩٠٠٩٩٩",
        "Amazing\n",
    ],
)
async def test_an_invalid_sender_is_rejected_without_a_request(vonage, plugin, sms, sender):
    with pytest.raises(Rejected, match="Vonage does not accept the sender: it must be up to 11") as refusal:
        await plugin.send_sms(sms(sender=sender))

    assert sender not in str(refusal.value)
    assert refusal.value.code == "1420"
    assert vonage.requests == []


async def test_a_message_without_a_sender_is_rejected(vonage, opened, sms):
    async with opened(default_sender="") as plugin:
        with pytest.raises(Rejected, match="set default_sender") as refusal:
            await plugin.send_sms(sms(sender=None))

    assert refusal.value.code == "1420"
    assert vonage.requests == []


@pytest.mark.parametrize("number", ["+0447700900123", "+44770", "+4477009001234567", "+4٤٧٧٠٠٩٠٠١٢٣", ""])
async def test_an_invalid_number_is_rejected_without_a_request(vonage, plugin, sms, number):
    with pytest.raises(Rejected, match="Vonage does not accept the recipient's number") as refusal:
        await plugin.send_sms(sms(recipient=Secret(number)))

    assert not number or number.strip("+") not in str(refusal.value)
    assert refusal.value.code == "1430"
    assert vonage.requests == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [("x" * 1001, "the text is longer than the 1,000 characters"), ("\ud800", r"text \(string_unicode\)")],
)
async def test_the_error_for_an_invalid_text_does_not_quote_it(vonage, plugin, sms, text, fault):
    with pytest.raises(Rejected, match=fault) as refusal:
        await plugin.send_sms(sms(text))

    assert refusal.value.code == "1020"
    # The model's own error holds the whole message.
    assert refusal.value.__cause__ is None
    assert refusal.value.__context__ is None
    assert vonage.requests == []


@pytest.mark.parametrize("character", ["x", "ж", "😀"])
async def test_the_longest_text_is_sent(vonage, plugin, sms, character):
    await plugin.send_sms(sms(character * 1000))

    assert vonage.requests == [SENT]


@pytest.mark.parametrize(
    ("fault", "outcome", "expected"),
    [
        (emulator.answer(429, {"Retry-After": "7"}), Unavailable, {"code": "1000", "retry_after": 7.0}),
        (emulator.answer(429), Unavailable, {"code": "1000", "retry_after": None, "misconfigured": False}),
        (emulator.answer(500), Unavailable, {"code": "1030", "misconfigured": False}),
        (emulator.answer(503, {"Retry-After": "soon"}), Unavailable, {"retry_after": None}),
        (emulator.answer(402), Unavailable, {"code": "low-balance", "misconfigured": True}),
        (emulator.answer(403), Unavailable, {"code": "forbidden", "misconfigured": True}),
        (emulator.answer(404), Unavailable, {"code": "not-found", "misconfigured": True}),
        (emulator.answer(302, {"Location": "/elsewhere"}), Unavailable, {"misconfigured": True}),
        (emulator.answer(422), Rejected, {"code": "1020"}),
        (emulator.answer(400), Rejected, {"code": "bad-request"}),
        (emulator.answer(200), Uncertain, {"code": "200"}),
        (emulator.close_before_body(), Uncertain, {}),
        (emulator.close_after_body(taken=True), Uncertain, {}),
        (emulator.close_after_body(taken=False), Uncertain, {}),
        (emulator.hang(taken=True), Uncertain, {}),
        (emulator.hang(taken=False), Uncertain, {}),
        (emulator.stall(), Uncertain, {}),
        (emulator.drip(60), Uncertain, {}),
    ],
)
async def test_each_fault_has_its_outcome_after_one_request(
    vonage, plugin, sms, past_deadline, fault, outcome, expected
):
    vonage.plan(fault)
    with pytest.raises(outcome) as raised:
        await past_deadline(vonage, plugin.send_sms(sms()))

    assert type(raised.value) is outcome
    assert {name: getattr(raised.value, name) for name in expected} == expected
    assert vonage.requests == [SENT]
    assert DIGITS not in repr(raised.value)


async def test_a_refused_token_is_replaced_once(vonage, plugin, sms):
    vonage.plan(emulator.answer(401), emulator.answer(401))
    with pytest.raises(Unavailable) as raised:
        await plugin.send_sms(sms())

    assert (raised.value.code, raised.value.misconfigured) == ("unauthorized", True)
    assert vonage.requests == [SENT, SENT]


@pytest.mark.parametrize(
    "fault",
    [
        emulator.close_before_body(),
        emulator.close_after_body(taken=True),
        emulator.close_after_body(taken=False),
    ],
)
async def test_a_message_is_not_repeated_when_its_connection_is_lost(vonage, plugin, sms, fault):
    await plugin.send_sms(sms())
    vonage.plan(fault)

    with pytest.raises(Uncertain):
        await plugin.send_sms(sms())

    assert vonage.requests == [SENT, SENT]
    assert vonage.connections == 1


async def test_the_timeout_of_the_instance_ends_the_wait(vonage, opened, sms, set_ahead):
    vonage.plan(emulator.hang(taken=True))
    async with opened({"timeout": 100.0}) as plugin:
        sending = asyncio.create_task(plugin.send_sms(sms()))
        while not vonage.withheld_answers:  # noqa: ASYNC110  the emulator has no event for it
            await asyncio.sleep(0.001)
        set_ahead(90)
        # A deadline that has passed would end it in this time.
        assert not (await asyncio.wait({sending}, timeout=0.05))[0]
        set_ahead(10)
        with pytest.raises(Uncertain, match="no answer in time"):
            await sending


@pytest.mark.parametrize("fault", [emulator.delay(0.05), emulator.drip(0.0001)])
async def test_a_slow_answer_is_accepted(vonage, plugin, sms, fault):
    vonage.plan(fault)

    receipt = await plugin.send_sms(sms())

    assert receipt.provider_id == vonage.taken[0].provider_id


async def test_without_a_connection_vonage_is_unavailable(opened, sms, vonage):
    async with opened() as plugin:
        await vonage.__aexit__()
        with pytest.raises(Unavailable, match="no connection") as raised:
            await plugin.send_sms(sms())
        await vonage.__aenter__()

    assert not raised.value.misconfigured


async def test_connections_are_reused_and_limited(vonage, opened, sms):
    async with opened({"concurrency": 3}) as plugin:
        for _ in range(4):
            await asyncio.gather(*(plugin.send_sms(sms()) for _ in range(12)))

    assert len(vonage.taken) == 48
    assert vonage.connections <= 3
    assert vonage.max_concurrent <= 3


async def test_a_connection_that_the_server_closed_loses_no_message(vonage, plugin, sms):
    await plugin.send_sms(sms())
    await vonage.drop_connections()
    await plugin.send_sms(sms())

    assert vonage.connections == 2
    assert len(vonage.taken) == 2


async def test_nothing_of_the_recipient_is_logged(vonage, plugin, sms, caplog, past_deadline):
    caplog.set_level(logging.DEBUG)
    texts = []
    await plugin.send_sms(sms())
    for fault in (
        emulator.answer(422),
        emulator.answer(503),
        emulator.close_after_body(taken=True),
        emulator.hang(taken=True),
    ):
        vonage.plan(fault)
        with pytest.raises((Rejected, Unavailable, Uncertain)) as raised:
            await past_deadline(vonage, plugin.send_sms(sms()))
        texts.append(str(raised.value))
    with pytest.raises(Rejected) as raised:
        await plugin.send_sms(sms(sender="not a sender", text="x"))
    texts.append(str(raised.value))

    # A formatter may print any attribute of a record, so all of them are searched.
    output = caplog.text + "".join(repr(vars(record)) for record in caplog.records) + "".join(texts)
    assert DIGITS not in output
    assert vonage.private_key[100:140] not in output


@pytest.mark.parametrize(
    "answer", [b"", b"null", b"[]", b'{"message_uuid": 7}', b'{"message_uuid": "' + b"x" * 256 + b'"}']
)
async def test_a_202_without_a_valid_id_is_a_receipt(vonage, plugin, sms, answer, monkeypatch):
    async def odd_answer(_request, _body):
        return web.Response(status=202, body=answer)

    monkeypatch.setattr(vonage, "answer_to", odd_answer)

    assert await plugin.send_sms(sms()) == Receipt("")


async def test_ping_uses_the_token_and_sends_nothing(vonage, plugin):
    await plugin.ping()

    assert vonage.requests == [("GET", "/v1/users")]
    assert vonage.taken == []


@pytest.mark.parametrize(
    ("fault", "misconfigured"),
    [
        (emulator.answer(401), True),
        (emulator.answer(403), True),
        (emulator.answer(404), True),
        (emulator.answer(422), True),
        (emulator.answer(302), True),
        (emulator.answer(429), False),
        (emulator.answer(500), False),
        (emulator.hang(taken=False), False),
    ],
)
async def test_ping_raises_only_unavailable(vonage, plugin, past_deadline, fault, misconfigured):
    vonage.failure = fault
    with pytest.raises(Unavailable) as raised:
        await past_deadline(vonage, plugin.ping())

    assert raised.value.misconfigured is misconfigured


async def test_another_applications_key_is_misconfigured(vonage, opened, sms):
    async with opened(application_id="00000000-0000-0000-0000-000000000000") as plugin:
        with pytest.raises(Unavailable) as raised:
            await plugin.send_sms(sms())
        with pytest.raises(Unavailable):
            await plugin.ping()

    assert raised.value.misconfigured
    assert vonage.refused[0] == (401, "another application's token")
