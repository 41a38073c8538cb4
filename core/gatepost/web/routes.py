"""The routes, and nothing else: what comes over HTTP is handed to the services, what they say goes back."""

import asyncio
import time
from collections.abc import Iterable
from typing import Any, NamedTuple, cast

import msgspec
from litestar import HttpMethod, Litestar, Request, Response, get, route
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.handlers import ASGIRouteHandler, asgi
from litestar.handlers.base import BaseRouteHandler
from litestar.types import HTTPScope, LifeSpanScope, Receive, Scope, Send

from gatepost import webhooks
from gatepost.body_limit import BodyLimit, BodyLimitReached
from gatepost.config.settings import Settings
from gatepost.errors import Code, Refused, StoreError
from gatepost.intake import requests
from gatepost.intake.accept import Acceptance
from gatepost.model import Channel, WebhookRequest
from gatepost.observe import logs
from gatepost.observe.log_throttle import LogThrottle
from gatepost.observe.metrics import CONTENT_TYPE, Metrics
from gatepost.upkeep.health import HealthCheck, Readiness
from gatepost.web import admin
from gatepost.web.admin import Control
from gatepost.web.auth import Access
from gatepost.webhooks import Webhooks

BODY_DEADLINE = 10.0
"""Seconds that a body may take to arrive."""

MOST_HELD = 64 * 1_048_576
"""Bytes that all requests of the contract in hand may have together, from the first that is read to the answer. A
request in hand needs several times its body."""

SERVICES_KEY = "gatepost"
"""The key of the application's state under which its Services stand."""

_AS_IT_IS = frozenset({b"", b"identity"})
_ENCODINGS = frozenset({b"gzip", b"x-gzip", b"deflate", b"br", b"zstd", b"compress"})

_JSON = (b"content-type", b"application/json")

_log = logs.get(__name__)


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """What the routes lead to."""

    settings: Settings
    access: Access
    acceptance: Acceptance
    webhooks: Webhooks
    control: Control
    metrics: Metrics
    health: HealthCheck
    bodies: BodyLimit
    """Of the contract's requests."""
    strangers: LogThrottle = msgspec.field(default_factory=lambda: LogThrottle(time.monotonic))


class _Announced(NamedTuple):
    """What the headers of a request say of its body."""

    length: int
    """The Content-Length; 0 where there is none."""
    encoding: str
    """The Content-Encoding; empty where the body is encoded in no way."""


class _TooLong(Exception):
    """A body is larger than it may be."""


class _Gone(Exception):
    """The caller hung up before its body was there."""


class Api(Litestar):
    """The routes. Requests of the contract under their very path go past Litestar's own layers.

    Those layers (its router, two nets for exceptions, a wrapper round ``send``) were a tenth of an accepted
    message's CPU, and there is nothing that they could do for a handler which reads raw bytes and always
    answers. Every other spelling of the path comes to the same handler through the router.
    """

    async def __call__(self, scope: Scope | LifeSpanScope, receive: Any, send: Any) -> None:
        asked = cast("Any", scope)
        channel = _CHANNELS.get(asked["path"]) if asked["type"] == ScopeType.HTTP else None
        if channel is None:
            await super().__call__(scope, receive, send)
        else:
            await _contract(self.state[SERVICES_KEY], channel, asked, receive, send)


_CHANNELS = {f"/{channel}": channel for channel in Channel}


def routes() -> list[BaseRouteHandler]:
    """Every route of the gateway."""
    return [
        _contract_route(Channel.EMAIL),
        _contract_route(Channel.SMS),
        _webhook,
        _control,
        _live,
        _ready,
        _metrics,
    ]


async def log_unexpected(error: Exception, _scope: Scope) -> None:
    """Litestar answers 500 for it and says nothing; called for every exception that leaves a route."""
    if not isinstance(error, HTTPException):
        _log.error("internal_error", exc_info=error)


def refuse(_request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """The answer to what no route takes: its status alone, as where there is an address that hides."""
    return Response(b"", status_code=error.status_code, headers=error.headers)


def _contract_route(channel: Channel) -> ASGIRouteHandler:
    @asgi(f"/{channel}", copy_scope=False)
    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        await _contract(scope["litestar_app"].state[SERVICES_KEY], channel, cast("Any", scope), receive, send)

    return handle


async def _contract(
    services: Services, channel: Channel, scope: HTTPScope, receive: Receive, send: Send
) -> None:
    """``POST /email`` or ``POST /sms``: whatever happens, the answer is 200 and JSON."""
    if scope["method"] != "POST":
        await _answer(send, 405, b"", (b"allow", b"POST"))
        return
    name = ""
    try:
        headers = scope["headers"]
        name, client = _admit(services, scope, channel)
        announced = _announced(headers)
        with services.bodies.holding(receive, announced.length) as counted:
            body = await _contract_body(services, counted, announced)
            answer, code = await services.acceptance.take(name, client, channel, body), Code.ACCEPTED
    except Refused as refusal:
        answer, code = requests.refused(refusal), refusal.code
        if name:
            _log.info("refused", client=name, channel=channel.value, code=int(code), reason=refusal.message)
    except _Gone:
        return
    except Exception as error:  # noqa: BLE001  the caller reads an error_code whatever happens
        _log.error("internal_error", channel=channel.value, exc_info=error)
        code = Code.INTERNAL
        answer = requests.refused(Refused(code, "an internal error; the gateway's log says more"))
    services.metrics.answered(name, channel.value, code)
    await _answer(send, 200, answer, _JSON)


def _admit(services: Services, scope: HTTPScope, channel: Channel) -> tuple[str, Any]:
    peer = scope["client"]
    caller = services.access.caller(peer[0] if peer else None, scope["headers"])
    try:
        return services.access.admit(caller, scope["headers"], channel)
    except Refused as refusal:
        if services.strangers.due(str(caller)):
            _log.warning("stranger", peer=str(caller), code=int(refusal.code), reason=refusal.message)
        raise


async def _contract_body(services: Services, receive: Receive, announced: _Announced) -> bytes:
    limit = services.settings.server.max_body
    try:
        body = await _body(receive, announced.length, limit)
    except _TooLong:
        # With commas: the log takes seven digits in a row for somebody's phone number.
        raise Refused(
            Code.TOO_LARGE, f"the request is larger than {limit:,} bytes (server.max_body)"
        ) from None
    except BodyLimitReached:
        if services.strangers.due("contract"):
            _log.warning("too_many_requests_at_once", most=services.bodies.most)
        problem = "the gateway has as much in hand as it can hold: try again later"
        raise Refused(Code.TRY_AGAIN, problem) from None
    except TimeoutError:
        raise Refused(Code.MALFORMED, f"the body did not arrive within {BODY_DEADLINE:g} s") from None
    if announced.encoding:
        problem = f"Content-Encoding: {announced.encoding} is not taken: send the body as it is"
        raise Refused(Code.MALFORMED, problem)
    return body


def _announced(headers: Iterable[tuple[bytes, bytes]]) -> _Announced:
    """What the headers say of the body."""
    length, encoding = 0, ""
    for key, value in headers:
        if key == b"content-length":
            if value.isdigit():
                length = max(length, int(value[:19]))
        elif key == b"content-encoding" and (stated := value.strip(b" \t").lower()) not in _AS_IT_IS:
            # What is no name that people know might be anything.
            encoding = stated.decode() if stated in _ENCODINGS else "(unknown)"
    return _Announced(length, encoding)


async def _body(receive: Receive, length: int, limit: int) -> bytes:
    """The whole body, in time and encoded as it came; raises _TooLong, TimeoutError or _Gone.

    ``length``: bytes that were announced, 0 where none were.
    """
    if length > limit:
        raise _TooLong
    async with asyncio.timeout(BODY_DEADLINE):
        chunks: list[bytes] = []
        size = 0
        while True:
            event = cast("Any", await receive())
            if event["type"] != "http.request":
                raise _Gone
            chunk = event.get("body", b"")
            size += len(chunk)
            if size > limit:
                raise _TooLong
            chunks.append(chunk)
            if not event.get("more_body", False):
                return b"".join(chunks)


async def _answer(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body, "more_body": False})


@route("/webhooks/{name:str}", http_method=[HttpMethod.POST, HttpMethod.GET], request_max_body_size=None)
async def _webhook(request: Request[Any, Any, Any]) -> Response[bytes]:
    """A provider reports; here HTTP statuses mean what they say."""
    services: Services = request.app.state[SERVICES_KEY]
    name: str = request.path_params["name"]
    try:
        # Of any name: whether there is such an instance must not show in what is read, nor in when it is answered.
        length, _ = _announced(request.scope["headers"])
        with services.webhooks.bodies.holding(request.receive, length) as receive:
            body = await _body(receive, length, webhooks.MAX_BODY)
            report = _webhook_request(services, request.scope, request.method, body)
            status = await services.webhooks.take(name, report)
    except _TooLong:
        status = 413
    except BodyLimitReached:
        status = 503
        if services.strangers.due("webhooks"):
            _log.warning("too_many_reports_at_once", most=services.webhooks.bodies.most)
    except (TimeoutError, _Gone):
        status = 408
    except Exception as error:  # noqa: BLE001  after a 503 most providers try again
        _log.error("internal_error", instance=name, exc_info=error)
        status = 503
    return Response(b"", status_code=status)


def _webhook_request(services: Services, scope: Scope, method: str, body: bytes) -> WebhookRequest:
    headers: dict[str, str] = {}
    for key, value in scope["headers"]:
        name, text = key.decode("latin-1").lower(), value.decode("latin-1")
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    query = scope["query_string"].decode("latin-1")
    base = services.settings.server.public_url.rstrip("/") or f"{scope['scheme']}://{headers.get('host', '')}"
    path = scope["raw_path"].decode("latin-1")
    return WebhookRequest(
        method=method,
        url=f"{base}{path}" + (f"?{query}" if query else ""),
        headers=headers,
        body=body,
        received_at=time.time(),
    )


@route("/control/{what:str}", http_method=HttpMethod.POST, request_max_body_size=None)
async def _control(request: Request[Any, Any, Any]) -> Response[bytes]:
    """A command of this machine's operator; for everybody else there is nothing here."""
    services: Services = request.app.state[SERVICES_KEY]
    shown = dict(request.scope["headers"]).get(b"authorization", b"")
    if not services.control.admits(shown):
        return Response(b"", status_code=404)
    try:
        length, _ = _announced(request.scope["headers"])
        body = await _body(request.receive, length, admin.MAX_BODY)
        answer = await services.control.take(request.path_params["what"], body)
    except _TooLong:
        return Response(b"", status_code=413)
    except (TimeoutError, _Gone):
        return Response(b"", status_code=408)
    except ValueError as error:
        return Response(str(error).encode(), status_code=400)
    except StoreError as error:
        return Response(str(error).encode(), status_code=503)
    return Response(answer or b"", status_code=404 if answer is None else 200, media_type="application/json")


@get("/health/live", sync_to_thread=False)
def _live() -> dict[str, bool]:
    """The process answers."""
    return {"live": True}


@get("/health/ready", sync_to_thread=False)
def _ready(request: Request[Any, Any, Any]) -> Response[Readiness | dict[str, bool]]:
    """The store works and every route has somebody to send with; 503 where not. Why, observers alone hear."""
    ready = request.app.state[SERVICES_KEY].health.readiness()
    content = ready if _may_observe(request) else {"ready": ready.ready}
    return Response(content, status_code=200 if ready.ready else 503)


@get("/metrics")
async def _metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
    """For Prometheus; answered to observers, and a 404 to all others."""
    if not _may_observe(request):
        return Response(b"", status_code=404)
    services: Services = request.app.state[SERVICES_KEY]
    await services.health.update_queue_depth()
    return Response(services.metrics.expose(), headers={"content-type": CONTENT_TYPE})


def _may_observe(request: Request[Any, Any, Any]) -> bool:
    services: Services = request.app.state[SERVICES_KEY]
    peer = request.scope["client"]
    return services.access.may_observe(peer[0] if peer else None, request.scope["headers"])
