"""``POST /email`` and ``POST /sms`` as ASGI: authenticate the client, read the body, accept the message, answer."""

import time
from typing import cast

from litestar.handlers import ASGIRouteHandler, asgi
from litestar.types import HTTPScope, Receive, Scope, Send

from gatepost.body_limit import BodyLimitReached, CountedBody
from gatepost.config.client import Client
from gatepost.errors import Code, Refused
from gatepost.intake import answers
from gatepost.model import Channel
from gatepost.observe import logs
from gatepost.web.body import (
    BODY_TIMEOUT,
    BodyHeaders,
    BodyTooLarge,
    ClientDisconnected,
    body_headers,
    read_body,
)
from gatepost.web.services import SERVICES_KEY, Services

MAX_BYTES_IN_FLIGHT = 64 * 1_048_576
"""Bytes of the bodies of all requests in flight, from the first byte that is read until the answer. A request in
flight needs several times the memory of its body.
"""

CHANNELS = {f"/{channel}": channel for channel in Channel}
"""The channel of each path."""

_JSON = (b"content-type", b"application/json")

_log = logs.get(__name__)


def message_route(channel: Channel) -> ASGIRouteHandler:
    """Return Litestar's route for the messages of a channel."""

    @asgi(f"/{channel}", copy_scope=False)
    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        services: Services = scope["litestar_app"].state[SERVICES_KEY]()
        await handle_message(services, channel, cast("HTTPScope", scope), receive, send)

    return handle


async def handle_message(
    services: Services, channel: Channel, scope: HTTPScope, receive: Receive, send: Send
) -> None:
    """Answer one request; every POST is answered with status 200 and JSON, whatever happens."""
    if scope["method"] != "POST":
        await send_answer(send, 405, b"", (b"allow", b"POST"))
        return
    begun_at = time.monotonic()
    origin = services.tracing.origin(scope["headers"])
    name = ""
    try:
        name, client = _authenticate(services, scope, channel)
        about_body = body_headers(scope["headers"])
        with services.bodies.counting(about_body.length) as counted:
            body = await _read_body(services, scope, receive, about_body, counted)
            answer = await services.acceptance.accept(name, client, channel, body, origin)
            code = Code.ACCEPTED
    except Refused as refusal:
        answer, code = answers.refused(refusal), refusal.code
        if name:
            services.acceptance.note_refusal(name, channel, refusal)
    except ClientDisconnected:
        return
    except Exception as error:  # noqa: BLE001  the client gets an error_code whatever happens
        _log.error("internal_error", channel=channel.value, exc_info=error)
        code = Code.INTERNAL
        answer = answers.refused(Refused(code, "internal error: the gateway's log has the details"))
    services.metrics.count_answer(name, channel.value, code, time.monotonic() - begun_at)
    await send_answer(send, 200, answer, _JSON)


def _authenticate(services: Services, scope: HTTPScope, channel: Channel) -> tuple[str, Client]:
    peer = scope["client"]
    address = services.authenticator.client_address(peer[0] if peer else None, scope["headers"])
    try:
        return services.authenticator.authenticate(address, scope["headers"], channel)
    except Refused as refusal:
        if services.log_throttle.due(str(address)):
            _log.warning(
                "authentication_failed", peer=str(address), code=int(refusal.code), reason=refusal.message
            )
        raise


async def _read_body(
    services: Services, scope: HTTPScope, receive: Receive, about_body: BodyHeaders, counted: CountedBody
) -> bytes:
    limit = services.settings.server.max_body
    try:
        body = await read_body(scope, receive, about_body.length, limit, counted.add)
    except BodyTooLarge:
        # With commas: the log's redaction takes seven digits in a row for a phone number.
        raise Refused(
            Code.TOO_LARGE, f"the request is larger than {limit:,} bytes (server.max_body)"
        ) from None
    except BodyLimitReached:
        if services.log_throttle.due("message_bodies_limit_reached"):
            _log.warning("message_bodies_limit_reached", limit=services.bodies.max_bytes)
        problem = "the gateway has too many requests in flight: try again later"
        raise Refused(Code.TRY_AGAIN, problem) from None
    except TimeoutError:
        raise Refused(Code.MALFORMED, f"the body did not arrive within {BODY_TIMEOUT:g} s") from None
    if about_body.encoding:
        problem = f"Content-Encoding: {about_body.encoding} is not supported: send the body unencoded"
        raise Refused(Code.MALFORMED, problem)
    return body


async def send_answer(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    """Send an answer without Litestar's layers."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body, "more_body": False})
