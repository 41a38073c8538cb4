"""Bounces and complaints that mail servers bring to a gateway by SMTP, up to Smartico."""

import asyncio
import contextlib
import socket
import sqlite3

import pytest

from gatepost_smtp.testing.bounces import BounceClient
from gatepost_smtp.testing.sink import Sink

DOMAIN = "bounces.brand.example"
BOUNCE = (
    "Content-Type: multipart/report; report-type=delivery-status; boundary=limit\r\n\r\n"
    "--limit\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example\r\n\r\n"
    "Final-Recipient: rfc822; anna@players.example\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n--limit--"
)
COMPLAINT = (
    "Content-Type: multipart/report; report-type=feedback-report; boundary=limit\r\n\r\n"
    "--limit\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nVersion: 1\r\n"
    "--limit\r\nContent-Type: message/rfc822\r\n\r\nReturn-Path: <{}>\r\nSubject: Hello\r\n\r\nHello\r\n--limit--"
)


@pytest.fixture
async def sink():
    async with Sink().serving() as sink:
        yield sink


@pytest.fixture
def port(deployment, sink):
    """The port on which the instance ``relay`` listens for bounces."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    deployment.tables["plugins.relay"] = {
        "use": "smtp",
        "host": "127.0.0.1",
        "port": sink.port,
        "security": "none",
        "webhook_secret": "a secret of this test",
        "bounce_domain": DOMAIN,
        "bounce_listen": f"127.0.0.1:{port}",
        "complaint_address": f"complaints@{DOMAIN}",
    }
    return port


async def sent(deployment, sink):
    """Let Smartico send an email; return its id, and the return path with which it left."""
    message = await deployment.email()
    await deployment.hears(message, "accepted")
    return message, sink.mails[-1].mail.decode().partition("<")[2].partition(">")[0]


async def deliver(port, recipient, mail):
    """Deliver a mail, and return the code of the last reply."""
    async with BounceClient.connected(port) as client:
        assert await client.begin(recipient) == [250, 354]
        return await client.end(mail)


async def test_a_bounce_and_a_complaint_reach_smartico(deployment, sink, port, begin):
    _, gateway = await begin(email=["relay"])
    bounced, return_path = await sent(deployment, sink)
    assert await deliver(port, return_path, BOUNCE) == 250
    await deployment.hears(bounced, "accepted", "failed")
    complained, return_path = await sent(deployment, sink)
    assert await deliver(port, f"complaints@{DOMAIN}", COMPLAINT.format(return_path)) == 250
    await deployment.hears(complained, "accepted", "complained")
    assert await deliver(port, return_path, "Auto-Submitted: auto-replied\r\n\r\nI am away.") == 250

    figures = await gateway.metrics()
    assert figures["gatepost_reported_events_total", "failed", "relay"] == 1
    assert figures["gatepost_reported_events_total", "complained", "relay"] == 1
    assert figures["gatepost_reported_events_total", "ignored.auto_reply", "relay"] == 1


async def test_a_bounce_that_the_store_does_not_take_is_brought_again(deployment, sink, port, begin):
    process, gateway = await begin(email=["relay"])
    message, return_path = await sent(deployment, sink)
    await gateway.settled()
    with contextlib.closing(sqlite3.connect(deployment.folder / "gatepost.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        delivering = asyncio.create_task(deliver(port, return_path, BOUNCE))
        # Time for the mail to be read; the store stays locked.
        await asyncio.sleep(0.2)
        await asyncio.to_thread(process.kill)
        assert await delivering in {0, 451}
    await asyncio.to_thread(process.start)
    deployment.set_url(process.url)
    assert await deliver(port, return_path, BOUNCE) == 250
    await deployment.hears(message, "accepted", "failed")


async def test_a_stop_lets_a_mail_end_that_has_begun(deployment, sink, port, begin):
    process, _ = await begin(email=["relay"])
    message, return_path = await sent(deployment, sink)
    async with BounceClient.connected(port) as client, BounceClient.connected(port) as idle:
        assert await client.begin(return_path) == [250, 354]
        await idle.reply()
        stopping = asyncio.create_task(asyncio.to_thread(process.terminate))
        # The listener stops together with the plugin.
        assert await idle.reply() == 421
        assert await client.end(BOUNCE) == 250
    assert await stopping == 0
    await asyncio.to_thread(process.start)
    deployment.set_url(process.url)
    await deployment.hears(message, "accepted", "failed")


async def test_a_check_takes_no_bounces_from_a_gateway_that_runs(deployment, sink, port, begin, run):
    await begin(email=["relay"])
    _, return_path = await sent(deployment, sink)
    delivering = asyncio.create_task(deliver_many(port, return_path))
    output = " ".join((await run("check", "--live")).split())
    delivering.cancel()
    assert "plugins.relay: smtp, opened, ready to send" in output
    with contextlib.suppress(asyncio.CancelledError):
        assert not await delivering


async def deliver_many(port, return_path):
    """Deliver until cancelled; return the code of a reply that is not 250."""
    while (code := await deliver(port, return_path, BOUNCE)) == 250:
        pass
    return code


async def test_a_port_in_use_stops_the_start(deployment, port, begin):
    with socket.create_server(("127.0.0.1", port)), pytest.raises(RuntimeError) as caught:
        await begin(email=["relay"])

    assert '"plugins.relay.bounce_listen", "problem": "another program listens on 127.0.0.1' in str(
        caught.value
    )
