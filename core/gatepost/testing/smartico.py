"""A stand-in for Smartico: it asks a gateway to send, and hears what became of it.

The hearing side is a real HTTP server on a free port of 127.0.0.1. It takes the calls that the contract
describes and nothing else, and fails as it is told to::

    async with Smartico(api_key="...", gateway_url="http://127.0.0.1:8080", authorization="...") as crm:
        crm.fail(smartico.answer(500), calls=2)  # the next two calls; those after them are fine
        answer = await crm.send_email(ext_user_id="hhu234556", subject="Hello")
        await crm.wait_for(answer["ext_message_id"], "delivered")
        assert crm.statuses_of(answer["ext_message_id"]) == ["accepted", "delivered"]
        assert not crm.faults

The gateway's client needs ``callback_hosts = ["127.0.0.1"]`` and ``allow_private_callbacks = true``.
"""

import asyncio
import re
import ssl
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any, Literal, Self
from urllib.parse import urlencode

import aiohttp
import msgspec
from aiohttp import web

from gatepost.model import Channel, Status
from gatepost.testing.serving import serving

PARAMETERS = ("type", "ext_message_id", "status", "api_key")
"""What the gateway adds to the callback URL's own query."""

_PATH = "/callback"
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """One call that kept to the contract."""

    type: str
    """``email`` or ``sms``."""
    ext_message_id: str
    status: str
    at: float
    """When it came, in seconds since the epoch."""
    query: Mapping[str, str]
    """All parameters as they came, the callback URL's own included."""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """What Smartico does instead of answering 200. The functions below make the usual ones."""

    status: int = 200
    headers: Mapping[str, str] = {}
    body: bytes = b""
    end: Literal["answer", "close", "hang"] = "answer"
    """The answer; the connection closed without one; silence until the stand-in ends."""


def answer(status: int, *, retry_after: int | None = None) -> Failure:
    """Answer with this HTTP status; ``retry_after`` (seconds) becomes a Retry-After header."""
    return Failure(status=status, headers={} if retry_after is None else {"Retry-After": str(retry_after)})


def redirect(location: str) -> Failure:
    """Answer 302 and point somewhere else, where the gateway must not go."""
    return Failure(status=302, headers={"Location": location})


def error_code(code: int) -> Failure:
    """Answer 200 with a JSON ``error_code``, as Smartico does when it could not use the call."""
    return Failure(
        headers={"Content-Type": "application/json"}, body=msgspec.json.encode({"error_code": code})
    )


def close() -> Failure:
    """Close the connection without a word."""
    return Failure(end="close")


def hang() -> Failure:
    """Never answer."""
    return Failure(end="hang")


class _Order:
    """One call of ``fail``: what is done, to which calls, and how often yet (None: for good)."""

    def __init__(self, failure: Failure, statuses: Collection[str], calls: int | None) -> None:
        self.failure = failure
        self.statuses = statuses
        self.calls = calls

    def take(self, status: str) -> bool:
        if self.calls == 0 or (self.statuses and status not in self.statuses):
            return False
        if self.calls is not None:
            self.calls -= 1
        return True


class Smartico:
    """Smartico, as far as a gateway can see it. Enter it to start the server; leave it to end it.

    ``api_key`` is what the callbacks have to bear. ``gateway_url`` and ``authorization`` are for
    ``send_email`` and ``send_sms``; both may also be set later, once the gateway is there. ``query`` is
    what ``callback_url`` brings along already, and every callback has to keep. ``tls`` makes it https.
    """

    def __init__(
        self,
        *,
        api_key: str,
        gateway_url: str = "",
        authorization: str = "",
        query: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.api_key = api_key
        self.gateway_url = gateway_url
        self.authorization = authorization
        self.callbacks: list[Callback] = []
        """Calls that were answered with success, in the order in which they came."""
        self.attempts: list[Callback] = []
        """Every call that kept to the contract, those that met with a Failure included."""
        self.faults: list[str] = []
        """What did not keep to the contract, in words; no values of parameters in it."""
        self.callback_url = ""
        """Where the statuses shall go; known once entered."""
        self._query = dict(query or {})
        self._tls = tls
        self._orders: list[_Order] = []
        self._closing = asyncio.Event()
        self._news = asyncio.Condition()

    # What tests ask and arrange.

    def fail(self, failure: Failure, *, calls: int | None = 1, statuses: Collection[str] = ()) -> None:
        """Do this to the next ``calls`` calls (None: to all, until ``recover``).

        ``statuses`` narrows it to calls that bring one of these. Of several orders the one given first
        goes first.
        """
        self._orders.append(_Order(failure, frozenset(statuses), calls))

    def recover(self) -> None:
        """Forget all that ``fail`` was told; those who hang already go on hanging."""
        self._orders.clear()

    def statuses_of(self, ext_message_id: str) -> list[str]:
        """The statuses heard of this message with success, in order; one that came twice stands twice."""
        return [call.status for call in self.callbacks if call.ext_message_id == ext_message_id]

    async def wait_for(
        self,
        ext_message_id: str,
        status: str,
        *,
        attempted: bool = False,
        timeout: float = 60.0,  # noqa: ASYNC109  a test's patience, which the name of an argument says best
    ) -> Callback:
        """Return the message's callback with this status, once it has come.

        ``attempted``: one that met with a Failure will do. Raises TimeoutError after ``timeout`` seconds,
        which tells what was heard instead.
        """
        calls = self.attempts if attempted else self.callbacks
        try:
            async with asyncio.timeout(timeout), self._news:
                while True:
                    for call in calls:
                        if (call.ext_message_id, call.status) == (ext_message_id, status):
                            return call
                    await self._news.wait()
        except TimeoutError:
            heard = ", ".join(self.statuses_of(ext_message_id)) or "nothing"
            faults = "".join(f"; fault: {fault}" for fault in self.faults)
            raise TimeoutError(f"no {status!r} in {timeout:g} s: {heard} was heard{faults}") from None

    # What Smartico asks of the gateway.

    async def send_email(self, **fields: str | None) -> dict[str, Any]:
        """POST an email to the gateway and return its answer, decoded.

        ``fields`` are the contract's; those left out are filled in sensibly, None leaves one out for good.
        Raises AssertionError where the answer is not one that the contract allows, refusals (an
        ``error_code`` other than 0) are returned.
        """
        usual = {
            "ext_user_id": "1",
            "from_email_address": "Amazing <noreply@amazing.example>",
            "subject": "Hello",
            "body": "<p>Hello there</p>",
            "email_uid": str(uuid.uuid4()),
            "callback_url": self.callback_url,
        }
        return await self._send("/email", {**usual, **fields})

    async def send_sms(self, **fields: str | None) -> dict[str, Any]:
        """POST a text message to the gateway; the rest as ``send_email``."""
        usual = {
            "ext_user_id": "1",
            "body": "Hello there",
            "im_uid": str(uuid.uuid4()),
            "callback_url": self.callback_url,
        }
        return await self._send("/sms", {**usual, **fields})

    async def _send(self, path: str, fields: Mapping[str, str | None]) -> dict[str, Any]:
        body = msgspec.json.encode({name: value for name, value in fields.items() if value is not None})
        headers = {"Authorization": self.authorization, "Content-Type": "application/json"}
        url = self.gateway_url.rstrip("/") + path
        async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
            content = await response.read()
            if response.status != 200 or response.content_type != "application/json":
                raise AssertionError(f"{path} was answered with {response.status} {response.content_type}")
        return _checked(content)

    # The server.

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
            self._session = await stack.enter_async_context(session)
            server = web.Server(self._hear, access_log=None)
            url = await stack.enter_async_context(serving(server, tls=self._tls))
            stack.callback(self._closing.set)
            query = f"?{urlencode(self._query)}" if self._query else ""
            self.callback_url = f"{url}{_PATH}{query}"
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _hear(self, request: web.BaseRequest) -> web.StreamResponse:
        faults = list(self._faults_of(request))
        if faults or await request.read():
            self.faults += faults or ["the call has a body"]
            return web.Response(status=400)
        query = dict(request.query)
        message_id, status = query["ext_message_id"], query["status"]
        call = Callback(
            type=query["type"], ext_message_id=message_id, status=status, at=time.time(), query=query
        )
        self.attempts.append(call)
        order = next((order for order in self._orders if order.take(status)), None)
        if order is None:
            self.callbacks.append(call)
        async with self._news:
            self._news.notify_all()
        if order is not None:
            return await self._suffer(request, order.failure)
        return web.json_response({"error_code": 0})

    def _faults_of(self, request: web.BaseRequest) -> Iterator[str]:
        if request.method != "GET" or request.path != _PATH:
            yield f"{request.method} instead of GET, or not to the callback_url's path"
            return
        query = request.query
        names = dict.fromkeys((*PARAMETERS, *self._query))
        for name in names:
            count = len(query.getall(name, ()))
            if count != 1:
                yield f"{name} is there {count} times instead of once"
        if unknown := len(set(query) - set(names)):
            yield f"{unknown} parameters that the contract does not know"
        expected = {name: {value} for name, value in self._query.items() if name not in PARAMETERS}
        expected |= {"type": set(Channel), "status": set(Status), "api_key": {self.api_key}}
        for name, values in expected.items():
            if name in query and query[name] not in values:
                yield f"{name} has not a value that the contract allows here"
        if "ext_message_id" in query and not _ID.fullmatch(query["ext_message_id"]):
            yield "ext_message_id is not a UUID in lower case"

    async def _suffer(self, request: web.BaseRequest, failure: Failure) -> web.Response:
        if failure.end == "hang":
            await self._closing.wait()
        if failure.end != "answer" and request.transport is not None:
            # Behind aiohttp's back; what is returned below is then never written.
            request.transport.close()
        return web.Response(status=failure.status, headers=failure.headers, body=failure.body)


def _checked(content: bytes) -> dict[str, Any]:
    """The gateway's answer, if it is one of the two kinds that the contract has."""
    try:
        decoded = msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError:
        raise AssertionError("the answer is not a JSON object") from None
    code = decoded.get("error_code")
    wanted = "ext_message_id" if code == 0 else "error_message"
    if type(code) is not int or code < 0 or decoded.keys() != {"error_code", wanted}:
        raise AssertionError(f"the answer's fields are {sorted(decoded)}, its error_code {code!r}")
    if not isinstance(decoded[wanted], str) or not decoded[wanted]:
        raise AssertionError(f"{wanted} is not a text")
    return decoded
