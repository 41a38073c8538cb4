"""The emulator is as strict as Brevo's documentation: what it refuses, and with which code."""

import aiohttp
import pytest

from gatepost_brevo.testing.request_rules import Mail, Text

# What Brevo's documentation and its SDK list for the two requests.
MAIL_PARAMETERS = {
    *(
        "sender",
        "to",
        "cc",
        "bcc",
        "replyTo",
        "subject",
        "htmlContent",
        "textContent",
        "templateId",
        "params",
    ),
    *("headers", "tags", "attachment", "messageVersions", "scheduledAt", "batchId"),
}
TEXT_PARAMETERS = {
    *("sender", "recipient", "content", "templateId", "params", "type", "tag", "webUrl", "unicodeEnabled"),
    "organisationPrefix",
}
EVENTS = {
    *("request", "deferred", "delivered", "soft_bounce", "hard_bounce", "error", "blocked", "invalid_email"),
    *("opened", "unique_opened", "proxy_open", "unique_proxy_open", "click", "spam", "unsubscribed"),
}

GOOD_MAIL = {
    "sender": {"email": "news@brand.example", "name": "Brand"},
    "to": [{"email": "anna@mail.example"}],
    "subject": "Hello",
    "htmlContent": "<p>Hello</p>",
}
GOOD_TEXT = {"sender": "Amazing", "recipient": "447700900123", "content": "Hello"}


@pytest.fixture
def post(provider):
    """Post a body with the account's key; return the status and the code."""

    async def send(path, body, **headers):
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                provider.base_url + path, json=body, headers={"api-key": provider.api_key, **headers}
            ) as response,
        ):
            return response.status, (await response.json()).get("code")

    return send


def test_the_parameters_are_those_that_brevo_documents():
    assert set(Mail.__struct_encode_fields__) == MAIL_PARAMETERS
    assert set(Text.__struct_encode_fields__) == TEXT_PARAMETERS


async def test_the_events_are_those_that_brevo_documents(provider):
    assert {kind.partition(":")[0] for kind in provider.meanings} == EVENTS


async def test_good_requests_are_taken(post):
    assert await post("/v3/smtp/email", GOOD_MAIL) == (201, None)
    assert await post("/v3/transactionalSMS/sms", GOOD_TEXT) == (201, None)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"subject": ""}, "missing_parameter"),
        ({"htmlContent": ""}, "missing_parameter"),
        ({"sender": None}, "invalid_parameter"),
        ({"sender": {}}, "missing_parameter"),
        ({"sender": {"email": "brand"}}, "invalid_parameter"),
        ({"sender": {"email": "a@b.example", "name": "x" * 71}}, "invalid_parameter"),
        ({"sender": {"email": "a@b.example", "name": ""}}, "invalid_parameter"),
        ({"to": []}, "invalid_parameter"),
        ({"to": [{"email": "anna"}]}, "invalid_parameter"),
        ({"to": [{"email": "a@b.example", "role": "x"}]}, "invalid_parameter"),
        ({"replyTo": {"name": "Help"}}, "invalid_parameter"),
        ({"tags": []}, "invalid_parameter"),
        ({"tags": [7]}, "invalid_parameter"),
        ({"headers": {"X-Number": 7}}, "invalid_parameter"),
        ({"headers": {"Subject": "x"}}, "invalid_parameter"),
        ({"headers": {"X y": "x"}}, "invalid_parameter"),
        ({"headers": {"idempotencyKey": "first"}}, "invalid_parameter"),
        ({"html": "<p>"}, "invalid_parameter"),
        ({"textContent": None}, "invalid_parameter"),
    ],
)
async def test_a_bad_mail_is_refused(provider, post, changes, code):
    assert await post("/v3/smtp/email", GOOD_MAIL | changes) == (400, code)
    assert provider.taken == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"content": ""}, "missing_parameter"),
        ({"sender": "ABCDEFGHIJKL"}, "invalid_parameter"),
        ({"sender": "+447700900999"}, "invalid_parameter"),
        ({"sender": "Café"}, "invalid_parameter"),
        ({"recipient": "44770"}, "invalid_parameter"),
        ({"recipient": 447_700_900_123}, "invalid_parameter"),
        ({"type": "otp"}, "invalid_parameter"),
        ({"tag": ["x"] * 11}, "invalid_parameter"),
        ({"tag": ""}, "invalid_parameter"),
        ({"webUrl": "gateway.example"}, "invalid_parameter"),
        ({"unicodeEnabled": "yes"}, "invalid_parameter"),
        ({"text": "Hello"}, "invalid_parameter"),
    ],
)
async def test_a_bad_text_message_is_refused(provider, post, changes, code):
    assert await post("/v3/transactionalSMS/sms", GOOD_TEXT | changes) == (400, code)
    assert provider.taken == []


@pytest.mark.parametrize("missing", GOOD_MAIL)
async def test_a_mail_needs_each_of_its_parts(post, missing):
    body = {name: value for name, value in GOOD_MAIL.items() if name != missing}

    assert await post("/v3/smtp/email", body) == (400, "missing_parameter")


@pytest.mark.parametrize("missing", GOOD_TEXT)
async def test_a_text_message_needs_each_of_its_parts(post, missing):
    body = {name: value for name, value in GOOD_TEXT.items() if name != missing}

    assert await post("/v3/transactionalSMS/sms", body) == (400, "missing_parameter")


@pytest.mark.parametrize("body", ["text", None, 7, []])
async def test_what_is_no_object_is_refused(post, body):
    assert (await post("/v3/smtp/email", body))[0] == 400


async def test_another_key_path_or_method_is_refused(provider, post):
    assert await post("/v3/smtp/email", GOOD_MAIL, **{"api-key": "other"}) == (401, "unauthorized")
    assert await post("/v3/smtp/mail", GOOD_MAIL) == (404, "document_not_found")
    assert await post("/v3/account", {}) == (405, "method_not_allowed")
    assert provider.taken == []
