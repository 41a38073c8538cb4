"""Every code of the contract, on a real server over real sockets."""

import asyncio
import json
import re
from pathlib import Path

import pytest

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SECRETS = ("the-secret", "the-api-key", "anna@", "447700900100")


@pytest.mark.parametrize("channel", ["email", "sms"])
async def test_a_good_message_is_accepted_with_a_uuid(gateway, make, channel):
    answer = await gateway.post(f"/{channel}", make(channel))
    assert answer["error_code"] == 0
    assert UUID.fullmatch(answer["ext_message_id"])
    assert set(answer) == {"error_code", "ext_message_id"}


REFUSALS = [
    # What is changed in a good email, and the code that it then gets.
    ({"ext_user_id": "nobody"}, 1),
    ({"ext_user_id": "nomail"}, 2),
    ({"ext_user_id": "broken"}, 2),
    ({"ext_user_id": None}, 5),
    ({"ext_user_id": ""}, 5),
    ({"ext_user_id": 7}, 5),
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
    ({"activity_type": "preview", "to_email_address": "stranger@other.example"}, 11),
]


@pytest.mark.parametrize(("change", "code"), REFUSALS)
async def test_what_is_wrong_with_an_email_has_its_code(gateway, make, change, code):
    answer = await gateway.post("/email", make("email", **change))
    assert answer["error_code"] == code
    assert set(answer) == {"error_code", "error_message"}
    assert not any(secret in answer["error_message"] for secret in SECRETS)
    for field in change:
        if code == 5:
            assert field in answer["error_message"] or "go together" in answer["error_message"]


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
async def test_what_is_wrong_with_a_text_message_has_its_code(gateway, make, change, code):
    assert (await gateway.post("/sms", make("sms", **change)))["error_code"] == code


@pytest.mark.parametrize("field", ["reply_to_email_address", "text_body", "callback_url", "activity_type"])
@pytest.mark.parametrize("absent", [None, ""])
async def test_null_and_the_empty_text_mean_absent(gateway, make, field, absent):
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


async def test_a_wrong_or_missing_secret_is_3_and_two_headers_are_too(gateway, make):
    body = make("email")
    assert (await gateway.post("/email", body, secret="wrong"))["error_code"] == 3
    assert (await gateway.post("/email", body, secret=None))["error_code"] == 3
    twice = (
        "POST /email HTTP/1.1\r\nHost: x\r\nAuthorization: the-secret\r\nAuthorization: the-secret\r\n"
        f"Content-Length: {len(json.dumps(body))}\r\nConnection: close\r\n\r\n{json.dumps(body)}"
    )
    assert (await _raw(gateway.url, twice.encode()))["error_code"] == 3


async def test_a_caller_whom_no_client_lists_is_4_and_its_body_is_not_read(start, tmp_path, config):
    async with start(
        tmp_path, config.replace('["127.0.0.1"]\ncallback_api', '["192.0.2.1"]\ncallback_api')
    ) as it:
        head = b"POST /email HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
        assert (await _raw(it.url, head))["error_code"] == 4


async def test_a_body_over_the_limit_is_6_by_its_length_and_by_its_bytes(start, tmp_path, config, make):
    async with start(tmp_path, config.replace("port = 0", "port = 0\nmax_body = 2000")) as it:
        assert (await it.post("/email", make("email", body="x" * 3000)))["error_code"] == 6
        chunk = b"800\r\n" + b"x" * 0x800 + b"\r\n"
        head = b"POST /email HTTP/1.1\r\nHost: x\r\nAuthorization: the-secret\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert (await _raw(it.url, head + chunk * 3 + b"0\r\n\r\n"))["error_code"] == 6


async def test_a_body_that_does_not_arrive_is_5(gateway, monkeypatch):
    monkeypatch.setattr("gatepost.api.BODY_DEADLINE", 0.2)
    head = b"POST /email HTTP/1.1\r\nHost: x\r\nAuthorization: the-secret\r\nContent-Length: 50\r\n\r\n{"
    assert (await _raw(gateway.url, head))["error_code"] == 5


async def test_a_channel_without_a_route_is_8(start, tmp_path, config, make):
    async with start(tmp_path, config.replace('sms = ["box"]', "")) as it:
        assert (await it.post("/sms", make("sms")))["error_code"] == 8


@pytest.mark.parametrize("channel", ["email", "sms"])
async def test_the_same_message_again_gets_the_same_id_and_another_one_9(gateway, make, channel):
    first = await gateway.post(f"/{channel}", make(channel))
    again = await gateway.post(f"/{channel}", make(channel, callback_url=gateway.url))
    assert again == first
    other = await gateway.post(f"/{channel}", make(channel, body="something else"))
    assert other["error_code"] == 9


async def test_a_known_uid_is_answered_whatever_is_wrong_by_now(gateway, make):
    first = await gateway.post("/email", make("email"))
    assert await gateway.post("/email", make("email", callback_url="http://elsewhere.example/")) == first
    (gateway.folder / "contacts.csv").unlink()
    assert await gateway.post("/email", make("email")) == first
    spoofed = await gateway.post("/email", make("email", from_email_address="x@other.example"))
    assert spoofed["error_code"] == 9


async def test_a_refused_uid_is_not_used_up(gateway, make):
    assert (await gateway.post("/email", make("email", ext_user_id="nobody")))["error_code"] == 1
    assert (await gateway.post("/email", make("email")))["error_code"] == 0


async def test_one_uid_at_the_same_time_is_one_message(gateway, make):
    answers = await asyncio.gather(*(gateway.post("/email", make("email")) for _ in range(50)))
    assert len({answer["ext_message_id"] for answer in answers}) == 1
    await _sent(gateway, 1)


async def test_email_and_sms_and_clients_have_uids_of_their_own(start, tmp_path, config, make):
    second = config[config.index("[clients.brand]") : config.index("[contacts]")]
    second = second.replace("clients.brand", "clients.other").replace("the-secret", "other-secret")
    async with start(tmp_path, config + second) as it:
        answers = [
            await it.post("/email", make("email")),
            await it.post("/sms", make("sms")),
            await it.post("/email", make("email"), secret="other-secret"),
        ]
        assert len({answer["ext_message_id"] for answer in answers}) == 3


async def test_a_preview_goes_to_the_listed_address_without_a_lookup(gateway, make):
    answer = await gateway.post(
        "/email",
        make("email", ext_user_id="nobody", activity_type="p", to_email_address="support@brand.example"),
    )
    assert answer["error_code"] == 0
    (mail,) = await _sent(gateway, 1)
    assert "support@brand.example" in mail.read_text()


async def test_sms_authorization_false_lets_text_messages_in_by_address(start, tmp_path, config, make):
    open_sms = config.replace("callback_api_key", "sms_authorization = false\ncallback_api_key")
    async with start(tmp_path, open_sms) as it:
        assert (await it.post("/sms", make("sms"), secret=None))["error_code"] == 0
        assert (await it.post("/email", make("email"), secret=None))["error_code"] == 3


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("path", ["/email", "/sms"])
async def test_other_methods_are_405(gateway, path, method):
    async with gateway.http.request(method, gateway.url + path) as response:
        assert response.status == 405
        assert response.headers["Allow"] == "POST"


async def _raw(url: str, request: bytes) -> dict[str, object]:
    """What a server answers to these very bytes."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        length = int(re.search(rb"content-length: (\d+)", head.lower()).group(1))
        return json.loads(await reader.readexactly(length))
    finally:
        writer.close()
        await writer.wait_closed()


async def _sent(gateway, count: int) -> list[Path]:
    """The mails that arrived, once there are as many; that no more come is seen when the gateway stops."""
    async with asyncio.timeout(20):
        while len(found := list((gateway.folder / "box").glob("*.eml"))) < count:
            await asyncio.sleep(0.02)
    return found
