"""The end of the bounce listener: no mail is lost that it has begun to receive, and several listen on one port."""

import asyncio
import contextlib
import gc
import subprocess
import sys

import pytest

from gatepost_smtp.addresses import return_path
from gatepost_smtp.testing.bounces import BounceClient

ID = "0192d3a4-5b6c-7d8e-9f00-112233445566"
ADDRESS = return_path(ID, "bounces.example", "a shared secret")
MAIL = (
    "Content-Type: multipart/report; boundary=limit\r\n\r\n--limit\r\nContent-Type: message/delivery-status\r\n\r\n"
    "Reporting-MTA: dns; mx.example\r\n\r\nFinal-Recipient: rfc822; ann@post.example\r\nAction: failed\r\n\r\n--limit"
)


@pytest.fixture
async def stack():
    async with contextlib.AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def service(listening):
    """A listener in a stack of its own, and its port."""
    async with contextlib.AsyncExitStack() as service:
        service.port = await service.enter_async_context(listening())
        yield service


@pytest.fixture
async def client(service):
    async with BounceClient.connected(service.port) as client:
        yield client


async def test_an_idle_client_is_sent_away(service, client):
    await client.begin()
    await service.aclose()

    assert await client.rest() == b"421 4.3.2 the service stops, try again\r\n"
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", service.port)


async def test_a_mail_that_has_begun_is_received(recorder, service, client):
    async with BounceClient.connected(service.port) as idle:
        await idle.reply()
        assert await client.begin(ADDRESS) == [250, 354]
        closing = asyncio.create_task(service.aclose())
        assert await idle.reply() == 421
        assert not closing.done()
        assert await client.end(MAIL) == 250
        assert await client.reply() == 421
        await closing

    assert recorder.events == [("failed", ID, "")]


async def test_a_mail_that_is_being_recorded_is_accepted(recorder, service, client):
    await client.begin(ADDRESS)
    recorder.gate.clear()
    reply = asyncio.create_task(client.end(MAIL))
    await recorder.reporting.wait()
    closing = asyncio.create_task(service.aclose())
    await asyncio.sleep(0.05)
    recorder.gate.set()
    assert await reply == 250
    await closing

    assert recorder.events == [("failed", ID, "")]


async def test_a_mail_that_does_not_end_is_sent_again(recorder, service, client, set_ahead):
    await client.begin(ADDRESS)
    closing = asyncio.create_task(service.aclose())
    await asyncio.sleep(0.05)
    set_ahead(3.5)
    assert await client.reply() == 421
    await closing

    assert recorder.reports == []


async def test_a_report_that_hangs_is_not_accepted(recorder, service, client, set_ahead):
    await client.begin(ADDRESS)
    recorder.gate.clear()
    reply = asyncio.create_task(client.end(MAIL))
    await recorder.reporting.wait()
    closing = asyncio.create_task(service.aclose())
    await asyncio.sleep(0.05)
    set_ahead(3.5)
    assert await reply == 421
    await closing


async def test_a_gateway_that_never_ran_closes(recorder, listening):
    recorder.running = False
    async with listening():
        pass


@pytest.mark.parametrize("turns", range(5))
async def test_a_listener_that_ends_while_it_starts_listens_no_longer(listening, turns):
    async with listening():
        for _ in range(turns):
            await asyncio.sleep(0)

    servers = [one for one in gc.get_objects() if isinstance(one, asyncio.Server)]
    assert not any(server.is_serving() for server in servers)


OTHER_PROCESS = """
import asyncio, sys
from gatepost.hookspecs import Context
from gatepost.model import Secret
from gatepost.observe import logs
from gatepost_smtp import Settings, SmtpRelay
from gatepost_smtp.testing.bounces import ReportRecorder

async def main():
    recorder = ReportRecorder()
    context = Context(name="relay", log=logs.get("relay"), report=recorder.report, state=recorder)
    settings = Settings(
        host="127.0.0.1", security="none", webhook_secret=Secret("a shared secret"),
        bounce_domain="bounces.example", bounce_listen=sys.argv[1],
    )
    async with SmtpRelay(settings, context).lifespan():
        await asyncio.to_thread(sys.stdin.read)
    print("recorded", len(recorder.events))

asyncio.run(main())
"""


async def test_two_processes_listen_on_one_port(recorder, service, client):
    other = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OTHER_PROCESS, f"127.0.0.1:{service.port}"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        # Its line about the open port.
        await other.stdout.readline()
        sent = 0
        # Which of the two gets a connection is the kernel's choice.
        while len(recorder.events) in {0, sent}:
            sent += 1
            async with BounceClient.connected(service.port) as another:
                await another.begin(ADDRESS)
                assert await another.end(MAIL) == 250
        output, _ = await other.communicate(b"")
    finally:
        if other.returncode is None:
            other.kill()
            await other.wait()

    assert output.decode().splitlines()[-1] == f"recorded {sent - len(recorder.events)}"
