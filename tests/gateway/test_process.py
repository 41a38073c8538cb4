"""A gateway process that is killed, stopped and started twice: no accepted message is lost."""

import asyncio
import json
from collections import Counter

import aiohttp
import pytest

from gatepost.errors import Code
from gatepost.testing import emulator, report_sender, smartico


async def test_kill_9_between_the_answer_and_the_send_loses_nothing(deployment, sendgrid, begin, wait_until):
    """60 messages are accepted, and 4 of them are at the provider, which never answers, when the gateway is killed.

    A second gateway on the same file does not start before that, and starts afterwards.
    """
    deployment.tables["plugins.sendgrid-main"] |= {"concurrency": 4}
    deployment.tables["delivery"]["uncertain_wait"] = 3600
    sendgrid.failure = emulator.hang(taken=True)
    process, _ = await begin(email=["sendgrid-main"])
    messages = await asyncio.gather(*(deployment.email() for _ in range(60)))
    await wait_until(lambda: len(sendgrid.taken) == 4)
    with pytest.raises(RuntimeError, match=r"ended with 1:\n(?s:.*)another gatepost has .*gatepost\.db open"):
        await begin()
    process.kill()

    sendgrid.failure = emulator.NO_FAILURE
    reported, resent = sendgrid.taken[:2], sendgrid.taken[2:]
    async with deployment.running() as gateway:
        uncertain = {one.id for one in (*reported, *resent)}
        for message in messages:
            if message not in uncertain:
                await deployment.hears(message, "accepted")
        # The others are uncertain and wait for a report.
        assert len(sendgrid.taken) == len(messages)
        assert set(await sendgrid.report([sendgrid.event("processed", one) for one in reported])) == {200}
        for one in reported:
            await deployment.hears(one.id, "accepted")
    deployment.tables["delivery"]["uncertain_wait"] = 0.1
    async with deployment.running() as gateway:
        for one in resent:
            await deployment.hears(one.id, "accepted")
        await gateway.settled()
    sends = Counter({message: sendgrid.sends(message) for message in messages})
    assert {one.id: sends.pop(one.id) for one in reported} == dict.fromkeys((one.id for one in reported), 1)
    assert {one.id: sends.pop(one.id) for one in resent} == dict.fromkeys((one.id for one in resent), 2)
    assert set(sends.values()) == {1}


async def test_kill_9_under_full_load_loses_nothing(deployment, sendgrid, begin, wait_until):
    """Messages are accepted, sent, reported and called back meanwhile; Smartico repeats what failed."""
    crashes, total = 1, 200
    deployment.tables["delivery"]["uncertain_wait"] = 1.0
    sendgrid.automatic_reports = report_sender.AutomaticReports(kinds=["delivered"])
    sendgrid.time_scale = 0.0
    process, _ = await begin(email=["sendgrid-main"])
    ids: dict[str, set[str]] = {f"uid-{number}": set() for number in range(total)}

    async def client(uids: list[str]) -> None:
        for uid in uids:
            ids[uid].add(await _accepted(deployment, uid))

    def accepted() -> int:
        return sum(map(len, ids.values()))

    clients = asyncio.gather(*(client(list(ids)[number::8]) for number in range(8)))
    await wait_until(lambda: accepted() >= total / 2)
    process.kill()
    async with deployment.running() as gateway:
        await clients
        # A message that was answered before the crash has the same id after it.
        await client(list(ids))
        assert {len(found) for found in ids.values()} == {1}
        messages = [message for (message,) in ids.values()]
        for message in messages:
            await deployment.crm.wait_for(message, "accepted")
        # The provider repeats the reports that it sent while no gateway was running.
        reports = await sendgrid.report(sendgrid.event("delivered", taken) for taken in sendgrid.taken)
        assert set(reports) == {200}
        await gateway.settled()
    assert {sendgrid.sends(message) for message in messages} <= set(range(1, 2 + crashes))
    # Each status is reported at least once, and in the right order.
    statuses = {tuple(dict.fromkeys(deployment.crm.statuses_of(message))) for message in messages}
    assert statuses == {("accepted", "delivered")}
    assert not deployment.crm.violations


async def _accepted(deployment, uid: str) -> str:
    """Send as Smartico does, again and again, until there is an id; return the id."""
    while True:
        try:
            answer = await deployment.crm.send_email(ext_user_id="anna", email_uid=uid)
        except (aiohttp.ClientError, OSError):
            await asyncio.sleep(0.05)
            continue
        if answer["error_code"] == 0:
            return answer["ext_message_id"]
        assert answer["error_code"] == Code.TRY_AGAIN


async def test_sigterm_under_load_finishes_work_in_progress_and_ends_with_0(
    deployment, sendgrid, begin, wait_until
):
    deployment.tables["plugins.sendgrid-main"] |= {"concurrency": 4}
    sendgrid.failure = emulator.delay(0.5)
    process, _ = await begin(email=["sendgrid-main"])
    messages = list(await asyncio.gather(*(deployment.email() for _ in range(40))))
    half = await _half_a_request(deployment)
    await wait_until(lambda: len(sendgrid.requests) >= 4)
    ending = asyncio.create_task(asyncio.to_thread(process.terminate))
    await wait_until(lambda: _is_refused(deployment))
    messages.append(await half())
    assert await ending == 0
    begun = len(sendgrid.requests)
    assert begun < len(messages)

    sendgrid.failure = emulator.NO_FAILURE
    async with deployment.running() as gateway:
        for message in messages:
            await deployment.hears(message, "accepted")
        await gateway.settled()
    # Sends in progress were not cut off, otherwise they would have been sent again.
    assert {sendgrid.sends(message) for message in messages} == {1}


async def test_a_shutdown_has_a_time_limit(deployment, sendgrid, monkeypatch, wait_until):
    """The provider, Smartico and a client all hang; a message at the provider waits for a report."""
    monkeypatch.setattr("gatepost.gateway.DRAIN_TIMEOUT", 1.0)
    monkeypatch.setattr("gatepost.server.http_server.DRAIN_TIMEOUT", 1.0)
    deployment.tables["delivery"]["uncertain_wait"] = 0.5
    deployment.crm.fail(smartico.hang(), calls=1)
    async with deployment.running(email=["sendgrid-main"]):
        accepted = await deployment.email()
        await deployment.crm.wait_for(accepted, "accepted", attempted=True)
        sendgrid.failure = emulator.hang(taken=True)
        sent = await deployment.email()
        await wait_until(lambda: len(sendgrid.taken) == 2)
        rest = await _half_a_request(deployment)
    with pytest.raises(AssertionError):
        await rest()
    assert deployment.crm.callbacks == []
    sendgrid.failure = emulator.NO_FAILURE
    async with deployment.running() as gateway:
        await deployment.hears(accepted, "accepted")
        await deployment.hears(sent, "accepted")
        await gateway.settled()
    assert (sendgrid.sends(accepted), sendgrid.sends(sent)) == (1, 2)


async def _half_a_request(deployment):
    """Send the first half of a request, and return a function that sends the rest and returns the message's id."""
    host, _, port = deployment.crm.gateway_url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    fields = {
        "ext_user_id": "anna",
        "from_email_address": "noreply@amazing.example",
        "subject": "Hello",
        "body": "Hello",
        "email_uid": "in two halves",
        "callback_url": deployment.crm.callback_url,
    }
    body = json.dumps(fields).encode()
    head = (
        f"POST /email HTTP/1.1\r\nHost: x\r\nAuthorization: {deployment.crm.authorization}\r\n"
        f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    )
    writer.write(head.encode() + body[:10])
    # The handler is reading the body now.
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")

    async def rest() -> str:
        writer.write(body[10:])
        try:
            answer = await reader.read()
        finally:
            writer.close()
        assert answer.startswith(b"HTTP/1.1 200 ")
        return json.loads(answer.partition(b"\r\n\r\n")[2])["ext_message_id"]

    return rest


async def _is_refused(deployment) -> bool:
    host, _, port = deployment.crm.gateway_url.removeprefix("http://").partition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return True
    writer.close()
    return False
