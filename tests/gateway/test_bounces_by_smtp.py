"""Bounces and complaints that mail servers bring to a gateway by SMTP, up to Smartico."""

import asyncio
import contextlib
import os
import signal
import socket
import sqlite3

import pytest

from gatepost.testing.configuration import free_port
from gatepost_smtp.testing.bounces import BounceClient
from gatepost_smtp.testing.sink import Sink
from gateway.conftest import until
from gateway.test_handover import Process
from gateway.test_processes import Service
from torture.stores import Postgresql

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
    port = free_port()
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


async def bring(port, recipient):
    """Deliver a bounce as a mail server does: again and again until it is accepted."""
    while True:
        with contextlib.suppress(ConnectionError):
            async with BounceClient.connected(port) as client:
                codes = [*await client.begin(recipient), await client.end(BOUNCE)]
            if codes[-1] == 250:
                return
            assert 550 not in codes
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def bouncing(deployment, sink, port, count=8):
    """Bring the bounces of some new mails while the block runs; afterwards Smartico has heard of each."""
    mails = [await sent(deployment, sink) for _ in range(count)]
    begun = asyncio.Event()

    async def bring_slowly():
        for _, return_path in mails:
            await bring(port, return_path)
            begun.set()
            await asyncio.sleep(0.05)

    bringing = asyncio.create_task(bring_slowly())
    await begun.wait()
    yield mails
    await bringing
    for message, _ in mails:
        await deployment.hears(message, "accepted", "failed")


async def test_no_bounce_is_lost_while_one_of_two_processes_dies_and_the_secret_is_replaced(
    deployment, sink, port, postgres_server, run
):
    deployment.tables["store"] = {"url": Postgresql(postgres_server).url}
    deployment.tables["routes"] = {"email": ["relay"]}
    deployment.tables["logs"]["level"] = "info"
    service = Service(deployment.write())
    try:
        deployment.set_url(await service.listening())
        await until(lambda: service.log.read_text().count('"event": "bounces_listening"') == 2)
        async with bouncing(deployment, sink, port):
            os.kill(service.gateways()[0], signal.SIGKILL)
            await until(lambda: service.log.read_text().count('"event": "bounces_listening"') == 3)
        old, return_path = await sent(deployment, sink)
        relay = deployment.tables["plugins.relay"]
        relay["previous_webhook_secret"] = relay["webhook_secret"]
        relay["webhook_secret"] = "another secret of this test"
        deployment.write()
        async with bouncing(deployment, sink, port) as mails:
            assert "Taken over" in await run("reload")
        await bring(port, return_path)
        await deployment.hears(old, "accepted", "failed")
        assert mails
        service.process.terminate()
        assert await asyncio.to_thread(service.process.wait, 60) == 0
    finally:
        if service.process.poll() is None:
            service.process.terminate()
            await asyncio.to_thread(service.process.wait, 60)


async def test_no_bounce_is_lost_while_one_process_follows_another(deployment, sink, port):
    """The next one has the port before the old one ends, and takes no connection before it runs."""
    deployment.tables["routes"] = {"email": ["relay"]}
    deployment.tables["logs"]["level"] = "info"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url_port = listener.getsockname()[1]
        deployment.tables["server"]["port"] = url_port
        processes = [Process(deployment.write(), listener)]
        try:
            await processes[0].says("bounces_listening")
            deployment.set_url(f"http://127.0.0.1:{url_port}")
            async with bouncing(deployment, sink, port):
                processes.append(Process(deployment.write(), listener))
                await processes[1].says("store_in_use")
                await processes[0].end()
                await processes[1].says("bounces_listening")
            await processes[1].end()
        finally:
            for one in processes:
                if one.process.poll() is None:
                    one.process.kill()
                    one.process.wait()
