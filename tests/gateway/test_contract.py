"""The parts of the contract that depend on the configuration; each test has its own gateway."""

import asyncio
from pathlib import Path

import pytest

from gatepost.observe import redaction


async def test_an_unlisted_client_address_is_4_and_the_body_is_not_read(start, tmp_path, config, raw):
    async with start(
        tmp_path, config.replace('["127.0.0.1"]\ncallback_api', '["192.0.2.1"]\ncallback_api')
    ) as it:
        head = b"POST /email HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
        assert (await raw(it.url, head))["error_code"] == 4


async def test_a_body_over_the_limit_is_6_by_its_length_and_by_its_bytes(start, tmp_path, config, make, raw):
    async with start(tmp_path, config.replace("port = 0", "port = 0\nmax_body = 2000")) as it:
        assert (await it.post("/email", make("email", body="x" * 3000)))["error_code"] == 6
        chunk = b"800\r\n" + b"x" * 0x800 + b"\r\n"
        head = b"POST /email HTTP/1.1\r\nHost: x\r\nAuthorization: the-secret\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert (await raw(it.url, head + chunk * 3 + b"0\r\n\r\n"))["error_code"] == 6


async def test_the_limit_in_an_answer_is_not_redacted_as_a_phone_number(gateway, raw):
    head = b"POST /email HTTP/1.1\r\nHost: x\r\nAuthorization: the-secret\r\nContent-Length: 1048577\r\n\r\n"
    answer = await raw(gateway.url, head)

    assert "larger than 1,048,576 bytes" in redaction.redact(answer["error_message"])


async def test_a_channel_without_a_route_is_8(start, tmp_path, config, make):
    async with start(tmp_path, config.replace('sms = ["box"]', "")) as it:
        assert (await it.post("/sms", make("sms")))["error_code"] == 8


async def test_of_several_mistakes_the_first_in_the_documented_order_is_answered(
    start, tmp_path, config, make
):
    config = config.replace("port = 0", "port = 0\nmax_body = 2000").replace('email = ["box"]', "")
    mistakes = {
        "body": "x" * 3000,
        "subject": None,
        "callback_url": "https://elsewhere.example/",
        "from_email_address": "noreply@other.example",
        "activity_type": "preview",
        "to_email_address": "other@other.example",
        "ext_user_id": "nobody",
    }
    codes = []
    async with start(tmp_path, config) as it:
        codes.append((await it.post("/email", make("email", **mistakes), secret="wrong"))["error_code"])
        # The mistakes are corrected one after the other, the two fields of the preview together.
        for corrected in (
            ["body"],
            ["subject"],
            ["callback_url"],
            ["from_email_address"],
            list(mistakes)[4:6],
        ):
            codes.append((await it.post("/email", make("email", **mistakes)))["error_code"])
            for field in corrected:
                del mistakes[field]
        codes.append((await it.post("/email", make("email", **mistakes)))["error_code"])

    assert codes == [3, 6, 5, 7, 10, 11, 8]
    assert list(mistakes) == ["ext_user_id"]


async def test_a_known_uid_is_answered_although_the_request_would_be_refused(gateway, make):
    first = await gateway.post("/email", make("email"))
    assert await gateway.post("/email", make("email", callback_url="http://elsewhere.example/")) == first
    (gateway.folder / "contacts.csv").unlink()
    assert await gateway.post("/email", make("email")) == first
    spoofed = await gateway.post("/email", make("email", from_email_address="x@other.example"))
    assert spoofed["error_code"] == 9


async def test_concurrent_requests_with_one_uid_are_one_message(gateway, make, wait_until):
    answers = await asyncio.gather(*(gateway.post("/email", make("email")) for _ in range(50)))
    assert len({answer["ext_message_id"] for answer in answers}) == 1
    await wait_until(lambda: _mails(gateway))
    await gateway.settled()
    assert len(_mails(gateway)) == 1


async def test_uids_are_separate_for_each_channel_and_client(start, tmp_path, config, make):
    second = config[config.index("[clients.brand]") : config.index("[contacts]")]
    second = second.replace("clients.brand", "clients.other").replace("the-secret", "other-secret")
    shared = config.replace("[contacts]", "[contacts]\nshared = true")
    async with start(tmp_path, shared + second) as it:
        answers = [
            await it.post("/email", make("email")),
            await it.post("/sms", make("sms")),
            await it.post("/email", make("email"), secret="other-secret"),
        ]
        assert len({answer["ext_message_id"] for answer in answers}) == 3


@pytest.mark.parametrize("activity", ["preview", "Unknown", "EmailCustomerSupport"])
async def test_a_preview_goes_to_a_listed_address_without_a_lookup(gateway, make, wait_until, activity):
    fields = {"ext_user_id": "nobody", "activity_type": activity}
    assert (await gateway.post("/email", make("email", **fields, to_email_address="x@y.example")))[
        "error_code"
    ] == 11
    answer = await gateway.post("/email", make("email", **fields, to_email_address="support@brand.example"))
    assert answer["error_code"] == 0
    await wait_until(lambda: _mails(gateway))
    (mail,) = _mails(gateway)
    assert "support@brand.example" in mail.read_text()


async def test_sms_authorization_false_accepts_text_messages_by_address(start, tmp_path, config, make):
    open_sms = config.replace("callback_api_key", "sms_authorization = false\ncallback_api_key")
    async with start(tmp_path, open_sms) as it:
        assert (await it.post("/sms", make("sms"), secret=None))["error_code"] == 0
        assert (await it.post("/email", make("email"), secret=None))["error_code"] == 3


def _mails(gateway) -> list[Path]:
    """Return the mails that have arrived."""
    return list((gateway.folder / "box").glob("*.eml"))
