"""The emulator refuses what Vonage refuses, in Vonage's own words."""

import time

import aiohttp
import jwt
import pytest

from gatepost.testing import emulator

GOOD_VIBER = {
    "message_type": "text",
    "channel": "viber_service",
    "to": "447700900123",
    "from": "Amazing Casino",
    "text": "Hello",
    "viber_service": {"category": "promotion", "ttl": 30, "type": "string"},
}
GOOD_WHATSAPP = {
    "message_type": "template",
    "channel": "whatsapp",
    "to": "447700900123",
    "from": "447700900999",
    "template": {"name": "aaaa_1111:news", "parameters": ["Hello", "there"]},
    "whatsapp": {"policy": "deterministic", "locale": "en-GB"},
}
GOOD = {
    "message_type": "text",
    "channel": "sms",
    "to": "447700900123",
    "from": "Amazing",
    "text": "Hello",
    "client_ref": "c",
}
MISSING = object()


@pytest.fixture
def token(vonage, clock):
    def make(key=None, **other):
        claims = {"application_id": vonage.application_id, "iat": int(clock()), "jti": "j"}
        claims |= {"exp": int(clock()) + 900} | other
        claims = {name: value for name, value in claims.items() if value is not MISSING}
        return jwt.encode(claims, key or vonage.private_key, algorithm="HS256" if key else "RS256")

    return make


@pytest.fixture
async def post(vonage, token):
    async with aiohttp.ClientSession() as session:

        async def send(body, *, bearer=None, path="/v1/messages", content_type="application/json"):
            headers = {
                "Authorization": f"Bearer {token() if bearer is None else bearer}",
                "Content-Type": content_type,
            }
            data = {"json": body} if isinstance(body, dict) else {"data": body}
            async with session.post(vonage.base_url + path, headers=headers, **data) as answer:
                return answer.status, await answer.json()

        yield send


async def test_a_good_message_is_taken(vonage, post):
    status, answer = await post(GOOD)

    assert (status, answer) == (202, {"message_uuid": vonage.taken[0].provider_id})
    assert vonage.sends("c") == 1


@pytest.mark.parametrize("good", [GOOD_VIBER, GOOD_WHATSAPP])
async def test_a_good_message_of_another_channel_is_taken(vonage, post, good):
    assert (await post(good))[0] == 202
    [arrival] = vonage.arrivals()
    assert arrival.text == ("Hello" if good is GOOD_VIBER else "Hello\nthere")


@pytest.mark.parametrize(
    ("good", "name"),
    [
        *((GOOD, name) for name in ("message_type", "channel", "to", "from", "text")),
        *((GOOD_VIBER, name) for name in ("message_type", "channel", "to", "from", "text")),
        *(
            (GOOD_WHATSAPP, name)
            for name in ("message_type", "channel", "to", "from", "template", "whatsapp")
        ),
    ],
)
async def test_a_missing_field_is_named(vonage, post, good, name):
    status, problem = await post({key: value for key, value in good.items() if key != name})

    assert status == 422
    assert problem["type"].endswith("/messages#1010")
    assert problem["invalid_parameters"] == [{"name": name, "reason": "is required"}]
    assert vonage.taken == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("to", "+447700900123"),
        ("to", "00447700900123"),
        ("to", 447700900123),
        ("to", "447700900123\n"),
        ("to", "4٤٧٧٠٠٩٠٠١٢٣"),
        ("from", "+447700900999"),
        ("from", "Amazing Inc!"),
        ("from", "ABCDEFGHIJKL"),
        ("from", ""),
        ("from", None),
        ("text", ""),
        ("text", "x" * 3201),
        ("text", {"body": "x"}),
        ("client_ref", "x" * 101),
        ("client_ref", 7),
        ("channel", "pigeon"),
        ("channel", ["sms"]),
        ("viber_service", {"ttl": 600}),
        ("message_type", "image"),
        ("ttl", 19),
        ("ttl", 604_801),
        ("ttl", "600"),
        ("ttl", True),
        ("webhook_url", "gatepost"),
        ("webhook_version", "v2"),
        ("sms", "text"),
        ("sms", {"encoding_type": "gsm"}),
    ],
)
async def test_a_wrong_field_is_named(vonage, post, name, value):
    await expect_named(vonage, post, GOOD, name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("to", "+447700900123"),
        ("from", ""),
        ("from", "x" * 51),
        ("text", ""),
        ("text", "x" * 1001),
        ("message_type", "template"),
        ("client_ref", "x" * 101),
        ("viber_service", "transaction"),
        ("viber_service", {"category": "otp"}),
        ("viber_service", {"ttl": 29}),
        ("viber_service", {"ttl": 259_201}),
        ("viber_service", {"ttl": True}),
        ("viber_service", {"encoding_type": "text"}),
        ("ttl", 600),
        ("sms", {"encoding_type": "text"}),
    ],
)
async def test_a_wrong_field_of_a_viber_message_is_named(vonage, post, name, value):
    await expect_named(vonage, post, GOOD_VIBER, name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("to", "+447700900123"),
        ("from", "Amazing"),
        ("from", "+447700900999"),
        ("message_type", "text"),
        ("text", "Hello"),
        ("ttl", 600),
        ("template", "news"),
        ("template", {"parameters": ["x"]}),
        ("template", {"name": "My News"}),
        ("template", {"name": "news", "parameters": "x"}),
        ("template", {"name": "news", "parameters": [""]}),
        ("template", {"name": "news", "parameters": ["x" * 1025]}),
        ("template", {"name": "news", "parameters": ["a\nb"]}),
        ("template", {"name": "news", "parameters": ["a\tb"]}),
        ("template", {"name": "news", "parameters": ["a     b"]}),
        ("template", {"name": "news", "parameters": [7]}),
        ("whatsapp", {}),
        ("whatsapp", {"locale": "English"}),
        ("whatsapp", {"locale": "en", "policy": "fallback"}),
    ],
)
async def test_a_wrong_field_of_a_whatsapp_message_is_named(vonage, post, name, value):
    await expect_named(vonage, post, GOOD_WHATSAPP, name, value)


async def expect_named(vonage, post, good, name, value):
    status, problem = await post({**good, name: value})

    assert status == 422
    assert problem["type"].endswith("/messages#1020")
    assert [fault["name"] for fault in problem["invalid_parameters"]] == [name]
    assert vonage.refused == [(422, f"1020 {name}")]
    assert vonage.taken == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"[" * 5000, b"\xff"])
async def test_a_body_that_is_not_a_json_object_is_refused(post, body):
    assert (await post(body))[0] == 400


async def test_a_form_is_refused(post):
    assert (await post(b"to=1", content_type="application/x-www-form-urlencoded"))[0] == 415


@pytest.mark.parametrize(
    "other",
    [
        {"application_id": "another"},
        {"application_id": MISSING},
        {"jti": MISSING},
        {"iat": MISSING},
        {"exp": MISSING},
        {"iat": "now"},
        {"iat": int(time.time()) + 3600},
        {"exp": int(time.time()) - 1},
        {"exp": int(time.time()) + 2 * 86_400},
        {"key": "a secret of thirty-two bytes or so"},
    ],
)
async def test_a_token_that_is_not_the_applications_is_refused(vonage, post, token, other):
    status, problem = await post(GOOD, bearer=token(**other))

    assert status == 401
    assert problem["type"].endswith("#unauthorized")
    assert problem["title"] == "Unauthorized"
    assert vonage.taken == []


@pytest.mark.parametrize("bearer", ["", "x", "a.b.c"])
async def test_an_invalid_token_is_refused(post, bearer):
    assert (await post(GOOD, bearer=bearer))[0] == 401


async def test_another_path_is_not_there(post):
    assert (await post(GOOD, path="/v0.1/messages"))[0] == 404


async def test_a_planned_error_looks_like_vonages(vonage, post):
    vonage.plan(emulator.answer(402), emulator.answer(599))

    status, problem = await post(GOOD)
    assert status == 402
    assert problem.keys() == {"type", "title", "detail", "instance"}
    assert problem["type"] == "https://developer.vonage.com/api-errors#low-balance"
    assert (await post(GOOD))[0] == 599


async def test_reports_are_tried_for_a_day_and_only_where_that_may_help(vonage):
    assert vonage.retry_pauses[:3] == (5, 10, 20)
    assert max(vonage.retry_pauses) == 900
    assert 86_400 - 900 < sum(vonage.retry_pauses) < 86_400 + 900
    assert [status for status in (0, 200, 400, 401, 404, 429, 500, 503) if vonage.tries_again(status)] == [
        429,
        500,
        503,
    ]
