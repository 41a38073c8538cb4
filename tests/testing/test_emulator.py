"""The base of the emulators, with the smallest possible provider."""

import asyncio
import contextlib
import hashlib
import json
import random
import socket

import aiohttp
import pytest
from aiohttp import web

from gatepost.testing import emulator, report_sender
from gatepost.testing.conformance.running_plugin import wait_until
from gatepost.testing.webhook_requests import with_headers


class Tiny(emulator.Emulator):
    """An emulator that takes {"id": ...} and signs with a hash."""

    retry_pauses = (1.0, 2.0)

    async def answer_to(self, request: web.BaseRequest, body: bytes) -> web.Response:
        message = json.loads(body)
        if "id" not in message:
            return self.refuse(400, "no id")
        await self.take(
            report_sender.TakenMessage(
                id=message["id"],
                provider_id=f"tiny-{len(self.taken)}",
                message=message,
                headers=request.headers,
            )
        )
        return web.json_response({"took": message["id"]}, status=202)

    def error(self, status, why):
        return {"error": why}

    def event(self, kind, taken):
        return {"kind": kind, "id": taken.id}

    def bodies(self, events, *, batch):
        size = batch or 1
        return [json.dumps(events[at : at + size]).encode() for at in range(0, len(events), size)]

    def sign(self, request, *, forged=False):
        key = b"other" if forged else b"key"
        signature = hashlib.sha256(key + request.body).hexdigest()
        return with_headers(request, {"X-At": str(int(request.received_at)), "X-Signature": signature})


class Hook:
    """A webhook that records requests and gives the answers that a test sets."""

    def __init__(self):
        self.requests = []
        self.answers = []

    async def __call__(self, request):
        body = await request.read()
        good = request.headers.get("X-Signature") == hashlib.sha256(b"key" + body).hexdigest()
        self.requests.append((body, good, request.headers.get("X-At")))
        return web.Response(status=self.answers.pop(0) if self.answers else 204)

    async def __aenter__(self):
        self.runner = web.ServerRunner(web.Server(self), shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}/webhooks/tiny"
        return self

    async def __aexit__(self, *_):
        await self.runner.cleanup()

    def events(self):
        return [event for body, _, _ in self.requests for event in json.loads(body)]


@pytest.fixture
async def provider():
    async with Tiny() as tiny:
        yield tiny


@pytest.fixture
async def hook():
    async with Hook() as hook:
        yield hook


@pytest.fixture
async def client():
    async with aiohttp.ClientSession() as session:
        yield session


async def send(client, provider, message_id="m1", **options):
    async with client.post(provider.base_url, json={"id": message_id}, **options) as response:
        return response.status, dict(response.headers), await response.read()


async def until(true):
    while not true():  # noqa: ASYNC110  no event to wait for
        await asyncio.sleep(0.001)


async def test_no_request_outlives_the_emulator_whose_client_left_first(client):
    before = asyncio.all_tasks()
    async with Tiny() as provider:
        provider.plan(emulator.hang(taken=True), emulator.stall(), emulator.delay(3600), emulator.drip(3600))
        sends = [asyncio.create_task(send(client, provider)) for _ in range(4)]
        await until(lambda: provider.withheld_answers == 3 and provider.max_concurrent == 4)
        for one in sends:
            one.cancel()
        await asyncio.wait(sends)
        await until(lambda: not any(connection.transport for connection in provider._server.connections))

    assert asyncio.all_tasks() == before


async def test_takes_and_counts(provider, client):
    assert (await send(client, provider, "a"))[0] == 202
    assert (await send(client, provider, "a"))[0] == 202
    assert (await send(client, provider, "b"))[0] == 202
    assert (provider.sends("a"), provider.sends("b"), provider.sends("c")) == (2, 1, 0)
    assert provider.requests == [("POST", "/")] * 3
    assert provider.connections == 1


async def test_refuses_with_a_reason(provider, client):
    async with client.post(provider.base_url, json={}) as response:
        assert (response.status, await response.json()) == (400, {"error": "no id"})
    assert provider.refused == [(400, "no id")]
    assert provider.taken == []


async def test_planned_failures_come_in_order_and_the_default_failure_stays(provider, client):
    provider.plan(emulator.answer(429, {"Retry-After": "7"}), emulator.NO_FAILURE, emulator.answer(503))
    answers = [await send(client, provider) for _ in range(4)]
    assert [status for status, _, _ in answers] == [429, 202, 503, 202]
    assert answers[0][1]["Retry-After"] == "7"
    provider.failure = emulator.answer(401)
    assert [(await send(client, provider))[0] for _ in range(2)] == [401, 401]
    assert provider.sends("m1") == 2


@pytest.mark.parametrize(
    ("failure", "taken"),
    [
        (emulator.close_before_body(), 0),
        (emulator.close_after_body(taken=False), 0),
        (emulator.close_after_body(taken=True), 1),
    ],
)
async def test_closes_without_an_answer(provider, client, failure, taken):
    provider.plan(failure)
    with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
        await send(client, provider)
    assert provider.sends("m1") == taken
    assert (await send(client, provider))[0] == 202


async def test_closes_before_the_body_has_come(provider, client):
    async def endless():
        yield b'{"id": '
        await asyncio.Event().wait()

    provider.plan(emulator.close_before_body())
    async with asyncio.timeout(60):
        with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
            await client.post(provider.base_url, data=endless())


@pytest.mark.parametrize(
    ("failure", "taken"),
    [(emulator.hang(taken=False), 0), (emulator.hang(taken=True), 1), (emulator.stall(), 1)],
)
async def test_falls_silent_until_it_ends(provider, client, past_deadline, failure, taken):
    provider.plan(failure)
    with pytest.raises(TimeoutError):
        await past_deadline(provider, send(client, provider, timeout=aiohttp.ClientTimeout(total=60)))
    assert provider.sends("m1") == taken


async def test_drips_the_same_answer(provider, client):
    provider.plan(emulator.drip(0.0))
    status, headers, body = await send(client, provider)
    assert (status, json.loads(body)) == (202, {"took": "m1"})
    assert headers["Content-Type"] == "application/json; charset=utf-8"


async def test_late_answers_show_how_many_wait_at_once(provider, client):
    provider.failure = emulator.delay(0.05)
    await asyncio.gather(*(send(client, provider, str(number)) for number in range(5)))
    assert provider.max_concurrent == 5
    assert provider.connections == 5


async def test_drops_idle_connections(provider, client):
    await send(client, provider)
    await provider.drop_connections()
    await send(client, provider, "m2")
    assert provider.sends("m2") == 1


async def test_reports_signed(provider, hook):
    assert await provider.report([{"n": 1}, {"n": 2}], to=hook.url) == [204, 204]
    assert [good for _, good, _ in hook.requests] == [True, True]
    assert hook.events() == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize("tampering", ["unsigned", "forged", "flipped"])
async def test_reports_tampered_with(provider, hook, tampering):
    await provider.report([{"name": "delivered"}], to=hook.url, tampering=tampering)
    ((body, good, _),) = hook.requests
    assert not good
    assert (json.loads(body) != [{"name": "delivered"}]) == (tampering == "flipped")


async def test_reports_batched_copied_disordered_and_stale(provider, hook):
    events = [{"n": number} for number in range(10)]
    await provider.report(events, to=hook.url, batch=4, copies=2, shuffled=random.Random(1), at=1000.0)
    assert [len(json.loads(body)) for body, _, _ in hook.requests] == [4, 4, 4, 4, 2, 2]
    numbers = [event["n"] for event in hook.events()]
    assert sorted(numbers) == sorted([*range(10)] * 2)
    assert numbers[:4] == numbers[4:8] != [0, 1, 2, 3]
    assert {at for _, _, at in hook.requests} == {"1000"}


async def test_tries_again_as_often_as_allowed(provider, hook):
    provider.time_scale = 0.001
    hook.answers = [503, 500, 204]
    assert await provider.report([{}], to=hook.url, tries=2) == [500]
    assert await provider.report([{}], to=hook.url, tries=5) == [204]
    assert len(hook.requests) == 3
    assert provider.webhook_answers == {503: 1, 500: 1, 204: 1}


async def test_a_webhook_without_a_server_is_status_0(provider, hook):
    await hook.runner.cleanup()
    assert await provider.report([{}], to=hook.url) == [0]


async def test_automatic_reports(provider, hook, client):
    provider.webhook_url = hook.url
    provider.automatic_reports = report_sender.AutomaticReports(kinds=["processed", "delivered"], delay=0.01)
    await send(client, provider, "a")
    await provider.wait_for_reports()
    assert hook.events() == [{"kind": "processed", "id": "a"}, {"kind": "delivered", "id": "a"}]


async def test_reports_overtake_the_answer(provider, hook, client):
    provider.webhook_url = hook.url
    provider.automatic_reports = report_sender.AutomaticReports(kinds=["processed"], before_answer=True)
    provider.plan(emulator.close_after_body(taken=True))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await send(client, provider, "a")
    assert hook.events() == [{"kind": "processed", "id": "a"}]


async def test_ends_what_is_under_way(hook, client):
    async with Tiny() as provider:
        provider.webhook_url = hook.url
        provider.automatic_reports = report_sender.AutomaticReports(kinds=["delivered"], delay=3600)
        await send(client, provider)
        provider.failure = emulator.hang(taken=True)
        waiting = asyncio.create_task(send(client, provider))
        await until(lambda: provider.sends("m1") == 2)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await waiting
    assert hook.requests == []


@pytest.mark.parametrize("turns", range(4))
async def test_a_connection_accepted_while_it_ends_is_closed(turns):
    """The client connects ``turns`` turns of the loop before the end."""
    with socket.socket() as connection:
        async with Tiny() as provider:
            connection.connect(("127.0.0.1", int(provider.base_url.rpartition(":")[2])))
            for _ in range(turns):
                await asyncio.sleep(0)
        connection.setblocking(False)  # noqa: FBT003  the library's own
        with contextlib.suppress(ConnectionError):
            assert connection.recv(1) == b""


async def test_a_request_whose_client_has_gone_ends_with_the_emulator():
    before = asyncio.all_tasks()
    async with Tiny() as provider:
        provider.failure = emulator.hang(taken=False)
        _, writer = await asyncio.open_connection("127.0.0.1", int(provider.base_url.rpartition(":")[2]))
        writer.write(b"POST / HTTP/1.1\r\nHost: tiny\r\nContent-Length: 2\r\n\r\n{}")
        await wait_until(lambda: provider.withheld_answers, lambda: "the request did not come")
        writer.close()
        await writer.wait_closed()
        await provider.drop_connections()

    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
