"""The emulator refuses what Twilio refuses, with Twilio's own codes."""

from urllib.parse import urlencode

import aiohttp
import pytest

from gatepost.model import Secret
from gatepost.testing import emulator
from gatepost.testing.report_sender import AutomaticReports
from gatepost.wire import basic_auth

GOOD = {"To": "+447700900123", "From": "Amazing", "Body": "Hello"}
SERVICE = {"To": "+447700900123", "MessagingServiceSid": "MG" + "0" * 32, "Body": "Hello"}


@pytest.fixture
async def post(twilio):
    async with aiohttp.ClientSession() as session:

        async def send(form, *, login=None, path=None, content_type="application/x-www-form-urlencoded"):
            user, password = login or (twilio.account_sid, twilio.auth_token)
            body = form if isinstance(form, bytes) else urlencode(form, doseq=True).encode()
            async with session.post(
                twilio.base_url + (path or f"/2010-04-01/Accounts/{twilio.account_sid}/Messages.json"),
                data=body,
                headers={**basic_auth(user, Secret(password)), "Content-Type": content_type},
            ) as answer:
                return answer.status, await answer.json()

        yield send


@pytest.fixture
def whatsapp_form(twilio):
    return {
        "To": "whatsapp:+447700900123",
        "From": "whatsapp:+447700900999",
        "ContentSid": twilio.template,
        "ContentVariables": '{"1": "Hello"}',
    }


@pytest.mark.parametrize("form", [GOOD, SERVICE])
async def test_a_good_message_is_taken(twilio, post, form):
    status, answer = await post(form)

    assert (status, answer["sid"]) == (201, twilio.taken[0].provider_id)
    assert (answer["status"], answer["num_segments"]) == (
        ("accepted", "0") if form is SERVICE else ("queued", "1")
    )


async def test_a_good_whatsapp_message_is_taken(twilio, post, whatsapp_form):
    assert (await post(whatsapp_form))[0] == 201
    [arrival] = twilio.arrivals()
    assert (arrival.recipient, arrival.text) == ("+447700900123", "Hello")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"To": None}, 21604),
        ({"From": None}, 21603),
        ({"Body": None}, 21619),
        ({"Body": " "}, 21619),
        ({"To": "07700900123"}, 21211),
        ({"To": "+0"}, 21211),
        ({"To": ["+447700900123", "+447700900124"]}, 20001),
        ({"From": "ABCDEFGHIJKL"}, 21212),
        ({"From": "Casino!"}, 21212),
        ({"Body": "x" * 1_601}, 21617),
        ({"ValidityPeriod": "0"}, 21624),
        ({"ValidityPeriod": "36001"}, 21624),
        ({"ValidityPeriod": "soon"}, 21624),
        ({"StatusCallback": "gateway"}, 21609),
        ({"StatusCallback": "https://gate_way.example/"}, 21609),
        ({"MessagingServiceSid": "MG1"}, 21705),
        ({"ContentVariables": "{}"}, 21654),
        ({"ContentSid": "HX" + "0" * 32}, 21655),
        ({"From": "whatsapp:+447700900999"}, 21910),
        ({"To": "whatsapp:+447700900123", "From": "whatsapp:+447700900999"}, 63016),
        ({"Tags": "a"}, 20001),
        ({"to": "+447700900123"}, 20001),
        ({"To": "+15005550009"}, 21614),
        ({"From": "+15005550007"}, 21606),
    ],
)
async def test_a_wrong_message_is_refused(twilio, post, changes, code):
    form = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    status, answer = await post(form)

    assert (status, answer["code"], answer["status"]) == (400, code, 400)
    assert twilio.taken == []
    assert twilio.refused == [(400, str(code))]


@pytest.mark.parametrize(
    "variables",
    ["", "Hello", "[]", '{"1": ""}', '{"1": null}', '{"1": 7}', '{"1": "a\\nb"}', '{"1": "a     b"}'],
)
async def test_wrong_variables_are_refused(post, whatsapp_form, variables):
    assert (await post({**whatsapp_form, "ContentVariables": variables}))[1]["code"] == 21656


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff=\xff", b"To=%FF"])
async def test_a_body_that_is_no_form_is_refused(post, body):
    assert (await post(body))[0] == 400


async def test_json_is_refused(post):
    assert (await post(GOOD, content_type="application/json"))[1]["code"] == 20001


async def test_only_the_accounts_logins_are_accepted(twilio, post):
    logins = [
        (twilio.account_sid, twilio.api_key_secret),
        (twilio.api_key_sid, twilio.auth_token),
        ("x", "y"),
    ]
    for login in logins:
        assert (await post(GOOD, login=login))[1]["code"] == 20003
    assert (await post(GOOD, login=(twilio.api_key_sid, twilio.api_key_secret)))[0] == 201


async def test_another_account_is_not_there(post):
    path = f"/2010-04-01/Accounts/AC{'0' * 32}/Messages.json"
    status, answer = await post(GOOD, path=path)

    assert (status, answer["code"]) == (404, 20404)


async def test_an_api_key_may_not_read_the_account(twilio):
    url = f"{twilio.base_url}/2010-04-01/Accounts/{twilio.account_sid}.json"
    logins = [(twilio.account_sid, twilio.auth_token), (twilio.api_key_sid, twilio.api_key_secret)]
    async with aiohttp.ClientSession() as session:
        found = [
            (await session.get(url, headers=basic_auth(user, Secret(password)))).status
            for user, password in logins
        ]

    assert found == [200, 401]


async def test_a_planned_error_looks_like_twilios(twilio, post):
    twilio.plan(emulator.answer(429), emulator.answer(599))

    status, answer = await post(GOOD)
    assert status == 429
    assert (answer["code"], answer["more_info"]) == (20429, "https://www.twilio.com/docs/errors/20429")
    assert (await post(GOOD))[1]["code"] == 20500


@pytest.mark.parametrize(
    ("overrides", "answers", "tries"),
    [
        ("#rc=5&rp=all", [503] * 6, 6),
        ("#rc=2&rp=all", [503] * 3, 3),
        ("", [503], 1),
        ("#rp=all", [503, 200], 2),
    ],
)
async def test_a_report_is_tried_again_as_its_callback_says(twilio, post, webhook, overrides, answers, tries):
    twilio.time_scale = 0.0
    twilio.automatic_reports = AutomaticReports(kinds=["delivered"])
    webhook.answers = list(answers)
    await post({**GOOD, "StatusCallback": f"{webhook.url}?id=1{overrides}"})
    await twilio.wait_for_reports()

    assert len(webhook.requests) == tries
    assert sum(twilio.retry_pauses) <= 15
