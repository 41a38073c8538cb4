"""A stand-in for Smartico: it sends requests to a gateway and receives its callbacks.

Callbacks come to a real HTTP server on a free port of 127.0.0.1. It accepts those that the contract
describes and no others, and fails as a test demands::

    async with Smartico(api_key="...", gateway_url="http://127.0.0.1:8080", authorization="...") as crm:
        crm.fail(smartico.answer(500), calls=2)  # the next two callbacks only
        answer = await crm.send_email(ext_user_id="hhu234556", subject="Hello")
        await crm.wait_for(answer["ext_message_id"], "delivered")
        assert crm.statuses_of(answer["ext_message_id"]) == ["accepted", "delivered"]
        assert not crm.violations

The gateway's client needs ``callback_hosts = ["127.0.0.1"]`` and ``allow_private_callbacks = true``.
"""

import asyncio
import ssl
import time
import uuid
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from typing import Any, Literal, Self
from urllib.parse import urlencode

import aiohttp
import msgspec
from aiohttp import web

from gatepost.testing import contract
from gatepost.testing.serving import serving

_PATH = "/callback"


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """One callback that kept to the contract."""

    type: str
    """``email`` or ``sms``."""
    ext_message_id: str
    status: str
    at: float
    """When it came, in seconds since the epoch."""
    query: Mapping[str, str]
    """All parameters as they came, with those of the callback URL itself."""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """What Smartico does instead of answering 200. The functions below make the usual failures."""

    status: int = 200
    headers: Mapping[str, str] = {}
    body: bytes = b""
    end: Literal["answer", "close", "hang"] = "answer"
    """``answer``: answer; ``close``: close the connection; ``hang``: no answer until the stand-in ends."""


def answer(status: int, *, retry_after: int | None = None) -> Failure:
    """Answer with this HTTP status; ``retry_after`` (seconds) becomes a Retry-After header."""
    return Failure(status=status, headers={} if retry_after is None else {"Retry-After": str(retry_after)})


def redirect(location: str) -> Failure:
    """Answer 302 with a location that the gateway must not follow."""
    return Failure(status=302, headers={"Location": location})


def error_code(code: int) -> Failure:
    """Answer 200 with a JSON ``error_code``, as Smartico does for a callback that it could not use."""
    return Failure(
        headers={"Content-Type": "application/json"}, body=msgspec.json.encode({"error_code": code})
    )


def close() -> Failure:
    """Close the connection without an answer."""
    return Failure(end="close")


def hang() -> Failure:
    """Never answer."""
    return Failure(end="hang")


class _PlannedFailure:
    """One call of ``fail``: the failure, for which callbacks, and for how many more (None: all)."""

    def __init__(self, failure: Failure, statuses: Collection[str], calls: int | None) -> None:
        self.failure = failure
        self.statuses = statuses
        self.calls = calls

    def applies(self, status: str) -> bool:
        """Return whether a callback with this status fails, and count it."""
        if self.calls == 0 or (self.statuses and status not in self.statuses):
            return False
        if self.calls is not None:
            self.calls -= 1
        return True


class Smartico:
    """Smartico, as far as a gateway can see it. Enter it to start the server; leave it to end the server.

    ``api_key`` is the key that callbacks must have. ``gateway_url`` and ``authorization`` are for
    ``send_email`` and ``send_sms``; both may also be set later, once the gateway runs. ``query`` holds the
    parameters of ``callback_url`` itself, which every callback must keep. ``tls`` makes it https.
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
        """Callbacks that were answered with success, in the order in which they came."""
        self.attempts: list[Callback] = []
        """Every callback that kept to the contract, those that met with a Failure included."""
        self.violations: list[str] = []
        """What broke the contract, in words; holds no values of parameters."""
        self.callback_url = ""
        """Where callbacks go; known once entered."""
        self._query = dict(query or {})
        self._tls = tls
        self._planned: list[_PlannedFailure] = []
        self._closing = asyncio.Event()
        self._received = asyncio.Condition()

    # For tests.

    def fail(self, failure: Failure, *, calls: int | None = 1, statuses: Collection[str] = ()) -> None:
        """Do this to the next ``calls`` callbacks (None: to all, until ``recover``).

        ``statuses`` limits it to callbacks with one of these statuses. Several planned failures take
        effect in the order of the calls of this method.
        """
        self._planned.append(_PlannedFailure(failure, frozenset(statuses), calls))

    def recover(self) -> None:
        """Forget all planned failures; callbacks that hang already keep hanging."""
        self._planned.clear()

    def statuses_of(self, ext_message_id: str) -> list[str]:
        """Return the statuses of this message's successful callbacks, in order, with repetitions."""
        return [callback.status for callback in self.callbacks if callback.ext_message_id == ext_message_id]

    async def wait_for(
        self,
        ext_message_id: str,
        status: str,
        *,
        attempted: bool = False,
        timeout: float = 60.0,  # noqa: ASYNC109  simpler to call than asyncio.timeout
    ) -> Callback:
        """Return the message's callback with this status, once it has come.

        ``attempted``: callbacks that met with a Failure count too. Raises TimeoutError after ``timeout``
        seconds; its text names the statuses that were received instead.
        """
        callbacks = self.attempts if attempted else self.callbacks
        try:
            async with asyncio.timeout(timeout), self._received:
                while True:
                    for callback in callbacks:
                        if (callback.ext_message_id, callback.status) == (ext_message_id, status):
                            return callback
                    await self._received.wait()
        except TimeoutError:
            received = ", ".join(self.statuses_of(ext_message_id)) or "nothing"
            violations = "".join(f"; the contract was broken: {one}" for one in self.violations)
            raise TimeoutError(f"no {status!r} in {timeout:g} s; received: {received}{violations}") from None

    # Requests to the gateway.

    async def send_email(self, **fields: str | None) -> dict[str, Any]:
        """POST an email to the gateway and return its answer, decoded.

        ``fields`` are the contract's; those not given get usual values, None leaves a field out. Raises
        AssertionError where the contract does not allow the answer; a refusal (an ``error_code`` other than
        0) is returned.
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
        """POST a text message to the gateway; otherwise as ``send_email``."""
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
        return contract.decode_answer(content)

    # The server.

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
            self._session = await stack.enter_async_context(session)
            server = web.Server(self._receive, access_log=None)
            url = await stack.enter_async_context(serving(server, tls=self._tls))
            stack.callback(self._closing.set)
            query = f"?{urlencode(self._query)}" if self._query else ""
            self.callback_url = f"{url}{_PATH}{query}"
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _receive(self, request: web.BaseRequest) -> web.StreamResponse:
        violations = list(contract.callback_violations(request, _PATH, self._query, self.api_key))
        if violations or await request.read():
            self.violations += violations or ["the callback has a body"]
            return web.Response(status=400)
        query = dict(request.query)
        callback = Callback(
            type=query["type"],
            ext_message_id=query["ext_message_id"],
            status=query["status"],
            at=time.time(),
            query=query,
        )
        self.attempts.append(callback)
        planned = next((one for one in self._planned if one.applies(callback.status)), None)
        if planned is None:
            self.callbacks.append(callback)
        async with self._received:
            self._received.notify_all()
        if planned is not None:
            return await self._fail(request, planned.failure)
        return web.json_response({"error_code": 0})

    async def _fail(self, request: web.BaseRequest, failure: Failure) -> web.Response:
        if failure.end == "hang":
            await self._closing.wait()
        if failure.end != "answer" and request.transport is not None:
            # aiohttp then does not write the answer that is returned below.
            request.transport.close()
        return web.Response(status=failure.status, headers=failure.headers, body=failure.body)
