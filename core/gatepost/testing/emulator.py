"""A provider that can be made to misbehave: the base of the emulators of real ones.

A real HTTP server on a free port. It checks requests as the provider would, remembers what it took and
what it refused, fails as it is told to, and reports to a webhook with real signatures::

    async with SendGridEmulator() as provider:
        provider.plan(emulator.answer(429, {"Retry-After": "7"}))  # the next request; those after it are fine
        provider.standing = emulator.close_after_body(taken=True)  # or: every request from now on
        ...
        assert provider.sends(message_id) == 1
        await provider.report([provider.event("delivered", provider.taken[0])], to=webhook_url)

One provider's emulator is a subclass that fills in what only that provider knows: ``answer_to``,
``error``, ``event``, ``bodies`` and ``sign``.
"""

import asyncio
import random
import ssl
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, ClassVar, Literal, NamedTuple, Self

import aiohttp
import msgspec
from aiohttp import web

from gatepost.testing.serving import serving

Event = dict[str, Any]
"""One report as the provider would write it, before it is encoded."""

Tampering = Literal["", "unsigned", "forged", "flipped"]
"""Genuine; without its signature; signed with another key; one bit of the body changed after signing."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What goes wrong with one request. The functions below make the usual ones."""

    delay: float = 0.0
    """Seconds before anything is done."""
    unread: bool = False
    """It ends before the body is read; nothing is taken then."""
    status: int = 0
    """The provider answers this, in its own shape, and takes nothing; 0: it does as always."""
    headers: Mapping[str, str] = {}
    """Headers of that answer."""
    taken: bool = True
    """Whether the message is taken, where the client is not told."""
    end: Literal["answer", "close", "hang", "stall"] = "answer"
    """The answer; the connection closed; silence; half the answer and then silence."""
    drip: float | None = None
    """Seconds between the single bytes of the answer."""


FINE = Fault()


def answer(status: int, headers: Mapping[str, str] | None = None) -> Fault:
    """Answer with ``status`` and take nothing: 401, 429 with or without Retry-After, 5xx, a redirect."""
    return Fault(status=status, headers=headers or {}, taken=False)


def late(delay: float) -> Fault:
    """Do as always, ``delay`` seconds later."""
    return Fault(delay=delay)


def close_before_body() -> Fault:
    """Close the connection without reading the body."""
    return Fault(unread=True, end="close", taken=False)


def close_after_body(*, taken: bool) -> Fault:
    """Read the whole request, take the message or don't, and close the connection without a word."""
    return Fault(end="close", taken=taken)


def hang(*, taken: bool) -> Fault:
    """Read the whole request, take the message or don't, and never answer."""
    return Fault(end="hang", taken=taken)


def stall() -> Fault:
    """Take the message, write half the answer, and then nothing more."""
    return Fault(end="stall")


def drip(pause: float) -> Fault:
    """Do as always, but write the answer byte by byte, ``pause`` seconds apart."""
    return Fault(drip=pause)


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """One message that the provider has."""

    id: str
    """Our id, as it travelled with the message; empty where it did not."""
    provider_id: str
    message: Any
    """The request's body, decoded."""
    headers: Mapping[str, str]
    """The request's, case-insensitive."""


class Refused(NamedTuple):
    """One request that was answered with an error."""

    status: int
    why: str


class Automatic(msgspec.Struct, frozen=True, kw_only=True):
    """Reports made of their own accord about each message that is taken."""

    kinds: Sequence[str]
    delay: float = 0.0
    """Seconds between the message and its first report, and between its reports."""
    before_answer: bool = False
    """The reports overtake the answer to the send itself."""


class Emulator(ABC):
    """A provider. Enter it to start the server; leave it to end it and everything under way."""

    retry_pauses: ClassVar[Sequence[float]]
    """Seconds between the tries to deliver a report, as the provider documents them."""
    signs_retries: ClassVar[bool] = False
    """Whether a report that first came unsigned is signed when it is tried again."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.taken: list[Taken] = []
        self.refused: list[Refused] = []
        self.requests: list[tuple[str, str]] = []
        """Method and path of everything that came, whatever became of it."""
        self.connections = 0
        """TCP connections seen."""
        self.busiest = 0
        """The most requests that were under way at once."""
        self.withheld = 0
        """Answers that never came, or not at once: hangs, stalls and drips that have begun."""
        self.standing: Fault = FINE
        """What goes wrong with every request that no plan was made for."""
        self.webhook_url = ""
        """Where reports go that are not told otherwise."""
        self.automatic: Automatic | None = None
        self.time_scale = 1.0
        """What the pauses between tries to deliver a report are multiplied with."""
        self.webhook_answers: Counter[int] = Counter()
        """How the webhook answered, by HTTP status; 0 is no answer."""
        self.base_url = ""
        self._tls = tls
        self._port = port
        self._planned: deque[Fault] = deque()
        self._sends: Counter[str] = Counter()
        self._under_way = 0
        self._reports: set[asyncio.Task[None]] = set()

    # What only the provider knows.

    @abstractmethod
    async def answer_to(self, request: web.BaseRequest, body: bytes) -> web.Response:
        """Check and answer one whole request: by ``take`` for a good message, ``refuse`` for a bad one."""

    @abstractmethod
    def error(self, status: int, why: str) -> object:
        """The body, to be encoded as JSON, of an answer that says ``status``."""

    @abstractmethod
    def event(self, kind: str, taken: Taken) -> Event:
        """A report of this kind about that message, all its fields filled in."""

    @abstractmethod
    def bodies(self, events: Sequence[Event], *, batch: int) -> list[bytes]:
        """The bodies of the webhook requests that bear these events; ``batch`` events each, 0: as usual."""

    @abstractmethod
    def sign(self, body: bytes, at: float, *, forged: bool) -> dict[str, str]:
        """The headers that sign ``body`` at ``at`` (seconds since the epoch), or with somebody else's key."""

    def tries_again(self, status: int) -> bool:
        """Whether a report that was answered so (0: not at all) is delivered again."""
        return not 200 <= status < 300

    # What tests ask and arrange.

    def plan(self, *faults: Fault) -> None:
        """What goes wrong with the next requests, one after the other; ``FINE`` for one that shall pass."""
        self._planned.extend(faults)

    def sends(self, message_id: str) -> int:
        """How many times a message with this id of ours was taken."""
        return self._sends[message_id]

    async def drop_connections(self) -> None:
        """Close every connection, as a server does with idle ones; a client on this loop has noticed then."""
        for connection in self._server.connections:
            connection.force_close()
        for _ in range(10):
            # On one host a closed socket is known to its peer at the loop's next look at its sockets.
            await asyncio.sleep(0)

    async def report(  # noqa: PLR0913  each is one thing that providers do
        self,
        events: Iterable[Event],
        *,
        to: str = "",
        batch: int = 0,
        copies: int = 1,
        shuffled: random.Random | None = None,
        delay: float = 0.0,
        at: float | None = None,
        tampering: Tampering = "",
        tries: int = 1,
    ) -> list[int]:
        """Deliver reports to a webhook, one request after the other.

        ``shuffled`` disorders the events, ``copies`` sends each request so many times, ``delay`` (seconds)
        comes before each, ``at`` is the time of the signature instead of now, ``tries`` bounds how often
        a request is made that is not answered well. Returns the last HTTP status of each request.
        """
        ordered = list(events)
        if shuffled is not None:
            shuffled.shuffle(ordered)
        requests = [body for body in self.bodies(ordered, batch=batch) for _ in range(copies)]
        statuses = []
        for body in requests:
            await asyncio.sleep(delay)
            statuses.append(await self._deliver(to or self.webhook_url, body, at, tampering, tries))
        return statuses

    async def reported(self) -> None:
        """Wait until every report that was due on its own accord has been delivered or given up."""
        while self._reports:
            await asyncio.gather(*self._reports)

    # What subclasses use.

    async def take(self, taken: Taken) -> None:
        """Remember a message that is accepted, and report on it where that is switched on."""
        self.taken.append(taken)
        self._sends[taken.id] += 1
        if self.automatic and self.automatic.before_answer:
            await self._report_on(taken, self.automatic)
        elif self.automatic:
            task = asyncio.create_task(self._report_on(taken, self.automatic))
            self._reports.add(task)
            task.add_done_callback(self._reports.discard)

    def refuse(
        self, status: int, why: str, *, body: object = None, headers: Mapping[str, str] | None = None
    ) -> web.Response:
        """Remember a refusal and make its answer; ``body`` is JSON, by default what ``error`` says."""
        self.refused.append(Refused(status, why))
        content = msgspec.json.encode(self.error(status, why) if body is None else body)
        return web.Response(
            status=status, body=content, headers={"Content-Type": "application/json", **(headers or {})}
        )

    # The server.

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._session = await stack.enter_async_context(
                aiohttp.ClientSession(
                    timeout=aiohttp.ClientTimeout(total=30), cookie_jar=aiohttp.DummyCookieJar()
                )
            )
            self._server = _CountingServer(self)
            self.base_url = await stack.enter_async_context(
                serving(self._server, port=self._port, tls=self._tls)
            )
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._reports:
            task.cancel()
        await asyncio.gather(*self._reports, return_exceptions=True)
        await self._stack.aclose()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, or do what was planned instead. Called by the server alone."""
        self.requests.append((request.method, request.path))
        fault = self._planned.popleft() if self._planned else self.standing
        self._under_way += 1
        self.busiest = max(self.busiest, self._under_way)
        try:
            return await self._suffer(request, fault)
        finally:
            self._under_way -= 1

    async def _suffer(self, request: web.BaseRequest, fault: Fault) -> web.StreamResponse:
        await asyncio.sleep(fault.delay)
        if fault.unread:
            return await self._break_off(request, fault, b"")
        body = await request.content.read()
        if fault.status:
            return self.refuse(fault.status, "planned", headers=fault.headers)
        if not fault.taken:
            return await self._break_off(request, fault, b"")
        response = await self.answer_to(request, body)
        if fault.end != "answer" or fault.drip is not None:
            return await self._break_off(request, fault, _raw(response))
        return response

    async def _break_off(self, request: web.BaseRequest, fault: Fault, raw: bytes) -> web.Response:
        """Write ``raw`` as the fault says and be rid of the connection, behind aiohttp's back."""
        transport = request.transport
        if transport is not None:
            self.withheld += fault.drip is not None or fault.end in {"hang", "stall"}
            if fault.drip is not None:
                for byte in raw:
                    transport.write(bytes([byte]))
                    await asyncio.sleep(fault.drip)
            elif fault.end == "stall":
                transport.write(raw[: len(raw) // 2])
            if fault.end in {"hang", "stall"}:
                # Until the server ends and cancels it.
                await asyncio.Event().wait()
            transport.close()
        # Never written: the connection is gone.
        return web.Response()

    # Webhooks.

    async def _report_on(self, taken: Taken, automatic: Automatic) -> None:
        for kind in automatic.kinds:
            await self.report([self.event(kind, taken)], delay=automatic.delay, tries=len(self.retry_pauses))

    async def _deliver(
        self, url: str, body: bytes, at: float | None, tampering: Tampering, tries: int
    ) -> int:
        status = 0
        for number in range(tries):
            if number:
                pauses = self.retry_pauses
                await asyncio.sleep(pauses[min(number, len(pauses)) - 1] * self.time_scale)
            if number and tampering == "unsigned" and self.signs_retries:
                tampering = ""
            headers = self.sign(body, time.time() if at is None else at, forged=tampering == "forged")
            headers = {} if tampering == "unsigned" else headers
            status = await self._post(url, _flipped(body) if tampering == "flipped" else body, headers)
            if not self.tries_again(status):
                break
        return status

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        status = 0
        try:
            async with self._session.post(
                url, data=body, headers={"Content-Type": "application/json", **headers}, allow_redirects=False
            ) as response:
                await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            pass
        self.webhook_answers[status] += 1
        return status


class _CountingServer(web.Server):
    def __init__(self, emulator: Emulator) -> None:
        super().__init__(emulator.handle, access_log=None)
        self._emulator = emulator

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        self._emulator.connections += 1
        super().connection_made(handler, transport)


def _flipped(body: bytes) -> bytes:
    """``body`` with one bit of a letter or digit in its middle changed, so that it may well stay JSON."""
    middle = len(body) // 2
    place = next((at for at in range(middle, len(body)) if chr(body[at]).isalnum()), middle)
    return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]


def _raw(response: web.Response) -> bytes:
    body = response.body if isinstance(response.body, bytes) else b""
    lines = [f"HTTP/1.1 {response.status} {response.reason}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items() if name != "Content-Length"]
    lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode() + body
