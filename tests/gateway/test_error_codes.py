"""Every error_code of the contract, over real sockets; one gateway serves all tests."""

import json
import re

import pytest

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SECRETS = ("the-secret", "the-api-key", "anna@", "447700900100")


@pytest.fixture(scope="module")
async def gateway(start, tmp_path_factory):
    async with start(tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.mark.parametrize("channel", ["email", "sms"])
async def test_a_valid_message_is_accepted_with_a_uuid(gateway, make, channel):
    answer = await gateway.post(f"/{channel}", make(channel))
    assert answer["error_code"] == 0
    assert UUID.fullmatch(answer["ext_message_id"])
    assert set(answer) == {"error_code", "ext_message_id"}


REFUSALS = [
    # A change to a valid email, and the code of its answer.
    ({"ext_user_id": "nobody"}, 1),
    ({"ext_user_id": "nomail"}, 2),
    ({"ext_user_id": "broken"}, 2),
    ({"ext_user_id": None}, 5),
    ({"ext_user_id": ""}, 5),
    ({"ext_user_id": 7.5}, 5),
    ({"from_email_address": None}, 5),
    ({"from_email_address": "no address"}, 5),
    ({"subject": None}, 5),
    ({"body": None}, 5),
    ({"body": ""}, 5),
    ({"email_uid": None}, 5),
    ({"email_uid": ""}, 5),
    ({"reply_to_email_address": "a@b@c"}, 5),
    ({"activity_type": "preview"}, 5),
    ({"callback_url": "http://elsewhere.example/"}, 7),
    ({"callback_url": "ftp://127.0.0.1/"}, 7),
    ({"from_email_address": "noreply@other.example"}, 10),
    ({"activity_type": "preview", "to_email_address": "other@other.example"}, 11),
]


@pytest.mark.parametrize(("change", "code"), REFUSALS)
async def test_each_invalid_email_has_its_code(gateway, make, change, code):
    answer = await gateway.post("/email", make("email", **change))
    assert answer["error_code"] == code
    assert set(answer) == {"error_code", "error_message"}
    assert not any(secret in answer["error_message"] for secret in SECRETS)
    for field, value in change.items():
        if code == 5:
            assert field in answer["error_message"] or "go together" in answer["error_message"]
        if isinstance(value, str) and re.search("@|://", value):
            assert value not in answer["error_message"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"ext_user_id": "nobody"}, 1),
        ({"ext_user_id": "nophone"}, 2),
        ({"ext_user_id": "broken"}, 2),
        ({"body": None}, 5),
        ({"im_uid": None}, 5),
        ({"from_number": "Other"}, 10),
        ({"callback_url": "https://127.0.0.1@evil.example/"}, 7),
    ],
)
async def test_each_invalid_text_message_has_its_code(gateway, make, change, code):
    assert (await gateway.post("/sms", make("sms", **change)))["error_code"] == code


@pytest.mark.parametrize("field", ["reply_to_email_address", "text_body", "callback_url", "activity_type"])
@pytest.mark.parametrize("absent", [None, ""])
async def test_null_and_empty_fields_count_as_absent(gateway, make, field, absent):
    assert (await gateway.post("/email", {**make("email"), field: absent}))["error_code"] == 0


async def test_unknown_fields_are_ignored_and_an_empty_subject_is_fine(gateway, make):
    answer = await gateway.post("/email", make("email", subject="", new_field={"some": ["thing"]}))
    assert answer["error_code"] == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"\xff\xfe{}",
        b'{"ext_user_id": "\xff"}',
        b"[" * 5000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b'{"ext_user_id": "\\ud800"}',
        b'{"ext_user_id": "a\\u0000b", "body": "x", "im_uid": "u"}',
    ],
)
@pytest.mark.parametrize("path", ["/email", "/sms"])
async def test_a_broken_body_is_malformed(gateway, path, body):
    assert (await gateway.post(path, body))["error_code"] == 5


async def test_a_wrong_or_missing_secret_is_3_and_two_headers_are_too(gateway, make, raw):
    body = make("email")
    assert (await gateway.post("/email", body, secret="wrong"))["error_code"] == 3
    assert (await gateway.post("/email", body, secret=None))["error_code"] == 3
    twice = (
        "POST /email HTTP/1.1\r\nHost: x\r\nAuthorization: the-secret\r\nAuthorization: the-secret\r\n"
        f"Content-Length: {len(json.dumps(body))}\r\nConnection: close\r\n\r\n{json.dumps(body)}"
    )
    assert (await raw(gateway.url, twice.encode()))["error_code"] == 3


async def test_an_incomplete_body_is_5(gateway, monkeypatch, raw):
    monkeypatch.setattr("gatepost.web.body.BODY_TIMEOUT", 0.2)
    head = b"POST /email HTTP/1.1\r\nHost: x\r\nAuthorization: the-secret\r\nContent-Length: 50\r\n\r\n{"
    assert (await raw(gateway.url, head))["error_code"] == 5


@pytest.mark.parametrize("channel", ["email", "sms"])
async def test_the_same_message_again_gets_the_same_id_and_another_one_9(gateway, make, channel):
    first = await gateway.post(f"/{channel}", make(channel))
    again = await gateway.post(f"/{channel}", make(channel, callback_url=gateway.url))
    assert again == first
    other = await gateway.post(f"/{channel}", make(channel, body="something else"))
    assert other["error_code"] == 9


async def test_a_refused_uid_can_be_used_again(gateway, make):
    assert (await gateway.post("/email", make("email", ext_user_id="nobody")))["error_code"] == 1
    assert (await gateway.post("/email", make("email")))["error_code"] == 0


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("path", ["/email", "/sms"])
async def test_other_methods_are_405(gateway, path, method):
    async with gateway.http.request(method, gateway.url + path) as response:
        assert response.status == 405
        assert response.headers["Allow"] == "POST"


async def test_an_overloaded_gateway_still_answers_malformed_and_known_messages(gateway, make, monkeypatch):
    first = await gateway.post("/email", make("email"))
    monkeypatch.setattr("gatepost.intake.accept.MAX_IN_FLIGHT", 0)
    assert (await gateway.post("/email", make("email", email_uid="new")))["error_code"] == 12
    assert (await gateway.post("/email", make("email", subject=None)))["error_code"] == 5
    assert await gateway.post("/email", make("email")) == first
