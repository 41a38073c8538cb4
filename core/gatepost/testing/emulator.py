"""A provider that can be made to fail: the base of the emulators of real ones.

An emulator is a real HTTP server on a free port. It checks requests as the provider would, remembers what it
took and what it refused, fails as a test demands, and reports to a webhook with real signatures::

    async with AcmeEmulator() as provider:
        provider.plan(emulator.answer(429, {"Retry-After": "7"}))  # the next request only
        provider.failure = emulator.close_after_body(taken=True)  # or: every request from now on
        ...
        assert provider.sends(message_id) == 1
        await provider.report([provider.event("delivered", provider.taken[0])], to=webhook_url)

The emulator of one provider is a subclass that adds what only that provider knows: ``answer_to``, ``error``,
``received``, ``event``, ``bodies`` and ``sign``; and what the conformance suites check of it: ``table``,
``message_features``, ``report_features``, ``meanings`` and ``verification_keys``.
"""

import asyncio
import ssl
from abc import abstractmethod
from collections import Counter, deque
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from typing import Any, ClassVar, Literal, NamedTuple, Self

import aiohttp
import msgspec
from aiohttp import web

from gatepost.testing.demo_provider import Arrival
from gatepost.testing.features import FailureMode, MessageFeature
from gatepost.testing.kit_emulator import KitEmulator
from gatepost.testing.received import ReceivedMessage
from gatepost.testing.report_sender import Event, ReportSender, TakenMessage
from gatepost.testing.serving import serving


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """What goes wrong with one request. The functions below make the usual failures."""

    delay: float = 0.0
    """Seconds before anything is done."""
    unread: bool = False
    """Whether the request ends before its body is read; nothing is taken then."""
    status: int = 0
    """The HTTP status of the provider's error, with which nothing is taken; 0: no error."""
    headers: Mapping[str, str] = {}
    """Headers of that answer."""
    reason: str = "planned"
    """What that answer's body says."""
    taken: bool = True
    """Whether the message is taken although the client gets no answer."""
    end: Literal["answer", "close", "hang", "stall"] = "answer"
    """``answer``: answer; ``close``: close the connection; ``hang``: never answer; ``stall``: send half the answer."""
    drip: float | None = None
    """Seconds between the single bytes of the answer."""


NO_FAILURE = Failure()


def answer(status: int, headers: Mapping[str, str] | None = None, *, reason: str = "planned") -> Failure:
    """Answer with ``status`` and take nothing: 401, 429 with or without Retry-After, 5xx, a redirect."""
    return Failure(status=status, headers=headers or {}, reason=reason, taken=False)


def delay(seconds: float) -> Failure:
    """Do as usual, this many seconds later."""
    return Failure(delay=seconds)


def close_before_body() -> Failure:
    """Close the connection without reading the body."""
    return Failure(unread=True, end="close", taken=False)


def close_after_body(*, taken: bool) -> Failure:
    """Read the whole request, take the message or not, and close the connection without an answer."""
    return Failure(end="close", taken=taken)


def hang(*, taken: bool) -> Failure:
    """Read the whole request, take the message or not, and never answer."""
    return Failure(end="hang", taken=taken)


def stall() -> Failure:
    """Take the message, write half the answer, and then nothing more."""
    return Failure(end="stall")


def drip(pause: float) -> Failure:
    """Do as usual, but write the answer byte by byte, ``pause`` seconds apart."""
    return Failure(drip=pause)


class Refusal(NamedTuple):
    """One request that was answered with an error."""

    status: int
    reason: str


class Emulator(ReportSender, KitEmulator):
    """A provider. Enter it to start the server; leave it to end the server and everything in progress.

    Large, because it is the provider whole: what it takes, how it fails, and what the suites want to know of it.
    """

    message_features: ClassVar[Collection[MessageFeature]] = frozenset({MessageFeature.CONNECTIONS})
    """The parts of a message that its API can carry."""
    failure_modes: ClassVar[Collection[FailureMode]] = frozenset(FailureMode)
    """How it can fail: in every way."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        super().__init__()
        self.refused: list[Refusal] = []
        """Requests that were answered with an error, in order."""
        self.requests: list[tuple[str, str]] = []
        """Method and path of every request, whatever the answer was."""
        self.queued: list[Event] = []
        """Reports that wait for a plugin that fetches them."""
        self.connections = 0
        """The number of TCP connections so far."""
        self.max_concurrent = 0
        """The largest number of requests that were in progress together."""
        self.withheld_answers = 0
        """Answers that never came, or not at once: hangs, stalls and drips that have begun."""
        self.failure: Failure = NO_FAILURE
        """What goes wrong with every request for which no failure was planned."""
        self.base_url = ""
        """The server's URL without a path; known once entered."""
        self._tls = tls
        self._port = port
        self._planned: deque[Failure] = deque()
        self._sends: Counter[str] = Counter()
        self._concurrent = 0

    # What differs by provider; ReportSender has the rest of it.

    @abstractmethod
    async def answer_to(self, request: web.BaseRequest, body: bytes) -> web.Response:
        """Check and answer one whole request: with ``take`` for a good message, ``refuse`` for a bad one."""

    @abstractmethod
    def error(self, status: int, reason: str) -> object:
        """Return the body, to be encoded as JSON, of an answer with this status."""

    def is_send(self, method: str, path: str) -> bool:  # noqa: ARG002  an API that sends by GET replaces this
        """Return whether requests with this method and path, without its query, send messages."""
        return method == "POST"

    def received(self, taken: TakenMessage) -> ReceivedMessage:
        """Return a message that was taken in the words of the plugin contract; ``raw`` is ``raw_request(taken)``."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it received: give it `received`")

    def arrivals(self) -> list[Arrival]:
        """Return what lies in mailboxes and on handsets, for the demo."""
        messages = [self.received(taken) for taken in self.taken]
        return [
            Arrival(id=one.id, recipient=one.recipients[0], text=one.subject or one.text) for one in messages
        ]

    @classmethod
    def table_for_port(cls, port: int) -> Mapping[str, Any]:
        """Return the keys of the table that lead to another port of this machine, without TLS."""
        return {"base_url": f"http://127.0.0.1:{port}"}

    # For tests.

    def plan(self, *failures: Failure) -> None:
        """Plan what goes wrong with the next requests, in order; ``NO_FAILURE`` for one that must pass."""
        self._planned.extend(failures)

    def sends(self, message_id: str) -> int:
        """Return how many times a message with this id of ours was taken."""
        return self._sends[message_id]

    async def drop_connections(self) -> None:
        """Close every connection, as a server does with idle ones; a client on this loop has noticed then."""
        for connection in self._server.connections:
            connection.force_close()
        for _ in range(10):
            # On one host the peer learns of a closed socket when the loop next polls its sockets.
            await asyncio.sleep(0)

    # For subclasses.

    async def take(self, taken: TakenMessage) -> None:
        """Remember a message that is accepted, and send its automatic reports where there are any."""
        self.taken.append(taken)
        self._sends[taken.id] += 1
        await self._report_automatically(taken)

    def refuse(
        self, status: int, reason: str, *, body: object = None, headers: Mapping[str, str] | None = None
    ) -> web.Response:
        """Remember a refusal and return its answer; ``body`` is JSON, by default what ``error`` returns."""
        self.refused.append(Refusal(status, reason))
        content = msgspec.json.encode(self.error(status, reason) if body is None else body)
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
        await self._cancel_reports()
        await self._stack.aclose()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, or fail as planned. Only the server calls this."""
        self.requests.append((request.method, request.path))
        failure = self._planned.popleft() if self._planned else self.failure
        self._concurrent += 1
        self.max_concurrent = max(self.max_concurrent, self._concurrent)
        try:
            return await self._respond(request, failure)
        finally:
            self._concurrent -= 1

    async def _respond(self, request: web.BaseRequest, failure: Failure) -> web.StreamResponse:
        await asyncio.sleep(failure.delay)
        if failure.unread:
            return await self._write_and_close(request, failure, b"")
        body = await request.content.read()
        if failure.status:
            return self.refuse(failure.status, failure.reason, headers=failure.headers)
        if not failure.taken:
            return await self._write_and_close(request, failure, b"")
        response = await self.answer_to(request, body)
        if failure.end != "answer" or failure.drip is not None:
            return await self._write_and_close(request, failure, _raw(response))
        return response

    async def _write_and_close(self, request: web.BaseRequest, failure: Failure, raw: bytes) -> web.Response:
        """Write ``raw`` to the connection as the failure says, without aiohttp, and close it."""
        transport = request.transport
        if transport is not None:
            self.withheld_answers += failure.drip is not None or failure.end in {"hang", "stall"}
            if failure.drip is not None:
                for byte in raw:
                    transport.write(bytes([byte]))
                    await asyncio.sleep(failure.drip)
            elif failure.end == "stall":
                transport.write(raw[: len(raw) // 2])
            if failure.end in {"hang", "stall"}:
                # Until the server ends and cancels this.
                await asyncio.Event().wait()
            transport.close()
        # aiohttp never writes it: the connection is closed.
        return web.Response()


def raw_request(taken: TakenMessage) -> str:
    """Return the whole request of a message as text: body and headers."""
    return msgspec.json.encode([taken.message, dict(taken.headers)]).decode()


class _CountingServer(web.Server):
    def __init__(self, emulator: Emulator) -> None:
        super().__init__(emulator.handle, access_log=None)
        self._emulator = emulator

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        self._emulator.connections += 1
        super().connection_made(handler, transport)


def _raw(response: web.Response) -> bytes:
    """Return the response as it is written to a connection."""
    body = response.body if isinstance(response.body, bytes) else b""
    lines = [f"HTTP/1.1 {response.status} {response.reason}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items() if name != "Content-Length"]
    lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode() + body
