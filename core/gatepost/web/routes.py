"""The routes of the gateway, as a Litestar application: they call the services and return what those answer."""

import time
from collections.abc import Callable
from typing import Any, cast

from litestar import HttpMethod, Litestar, Request, Response, get, route
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.handlers.base import BaseRouteHandler
from litestar.types import LifeSpanScope, Scope

from gatepost.body_limit import BodyLimitReached
from gatepost.model import Channel, WebhookAnswer, WebhookRequest
from gatepost.observe import logs
from gatepost.observe.metrics import CONTENT_TYPE
from gatepost.upkeep.health import Readiness
from gatepost.web.admin.own_metrics import own_number
from gatepost.web.body import BodyTooLarge, ClientDisconnected, body_headers, read_body
from gatepost.web.links import link_routes
from gatepost.web.messages import CHANNELS, handle_message, message_route, send_answer
from gatepost.web.services import SERVICES_KEY, Services, services_of
from gatepost.web.siblings import metrics_of_all
from gatepost.webhooks import handler

# An answer may repeat what the request says: a browser must never take it for a page.
_ANSWER_HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}

MAX_PATH = 1_000
"""Characters of a path; no route has a longer one. Litestar keeps the last 1,024 paths that have a parameter."""

_log = logs.get(__name__)


class Api(Litestar):
    """The ASGI application, which hands ``/email`` and ``/sms`` to their handler past Litestar's own layers.

    Those layers (its router, two exception handlers, a wrapper around ``send``) took a tenth of the CPU of an
    accepted message, and they have nothing to do for a handler that reads raw bytes and always answers. Any other
    spelling of these paths reaches the same handler through the router.
    """

    async def __call__(self, scope: Scope | LifeSpanScope, receive: Any, send: Any) -> None:
        http_scope = cast("Any", scope)
        path = http_scope["path"] if http_scope["type"] == ScopeType.HTTP else ""
        if channel := CHANNELS.get(path):
            await handle_message(self.state[SERVICES_KEY](), channel, http_scope, receive, send)
        elif len(path) > MAX_PATH:
            await send_answer(send, 404, b"")
        else:
            await super().__call__(scope, receive, send)


def create_app(services: Callable[[], Services]) -> Litestar:
    """Return the routes as an ASGI application; each request is answered with what ``services`` returns at its begin.

    It has no lifespan, because Litestar would wrap whatever is raised in one into an ExceptionGroup.
    """
    app = Api(
        route_handlers=_routes(),
        after_exception=[_log_unexpected],
        exception_handlers={HTTPException: _empty_answer},
        # The OpenAPI pages load scripts from other sites, and anyone could read them.
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
    app.state[SERVICES_KEY] = services
    return app


def _routes() -> list[BaseRouteHandler]:
    """Return every route of the gateway."""
    return [
        message_route(Channel.EMAIL),
        message_route(Channel.SMS),
        _webhook,
        *link_routes(),
        _live,
        _ready,
        _metrics,
    ]


async def _log_unexpected(error: Exception, _scope: Scope) -> None:
    """Log an exception that leaves a route; Litestar answers 500 and logs nothing."""
    if not isinstance(error, HTTPException):
        _log.error("internal_error", exc_info=error)


def _empty_answer(_request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Answer a request that no route takes with the status alone, so that it tells nothing about the routes."""
    return Response(b"", status_code=error.status_code, headers=error.headers)


@route(
    "/webhooks/{name:str}",
    http_method=[HttpMethod.POST, HttpMethod.GET, HttpMethod.HEAD],
    request_max_body_size=None,
)
async def _webhook(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Hand a provider's report to the instance of this name, and answer as the result says."""
    services = services_of(request)
    name: str = request.path_params["name"]
    try:
        # For every name: neither the bytes read nor the time of the answer may show whether the instance exists.
        length, _ = body_headers(request.scope["headers"])
        with services.webhooks.bodies.counting(length) as counted:
            body = await read_body(request.scope, request.receive, length, handler.MAX_BODY, counted.add)
            report = _webhook_request(services, request.scope, request.method, body)
            address = services.authenticator.client_address(_peer(request), request.scope["headers"])
            answer = await services.webhooks.handle(name, report, address)
    except BodyTooLarge:
        answer = WebhookAnswer(status=413)
    except BodyLimitReached:
        answer = WebhookAnswer(status=services.webhooks.retry_status(name))
        if services.log_throttle.due("webhook_bodies_limit_reached"):
            _log.warning("webhook_bodies_limit_reached", limit=services.webhooks.bodies.max_bytes)
    except (TimeoutError, ClientDisconnected):
        answer = WebhookAnswer(status=408)
    except Exception as error:  # noqa: BLE001  the provider tries again
        _log.error("internal_error", instance=name, exc_info=error)
        answer = WebhookAnswer(status=services.webhooks.retry_status(name))
    return Response(
        answer.body,
        status_code=answer.status,
        headers={**_ANSWER_HEADERS, "content-type": answer.content_type},
    )


def _webhook_request(services: Services, scope: Scope, method: str, body: bytes) -> WebhookRequest:
    header_list = [
        (key.decode("latin-1").lower(), value.decode("latin-1")) for key, value in scope["headers"]
    ]
    headers: dict[str, str] = {}
    for name, text in header_list:
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    query = scope["query_string"].decode("latin-1")
    base = services.settings.server.public_url.rstrip("/") or f"{scope['scheme']}://{headers.get('host', '')}"
    path = scope["raw_path"].decode("latin-1")
    return WebhookRequest(
        # The server sends no body after a HEAD.
        method="GET" if method == HttpMethod.HEAD else method,
        url=f"{base}{path}" + (f"?{query}" if query else ""),
        headers=headers,
        header_list=header_list,
        body=body,
        received_at=time.time(),
    )


@get("/health/live", sync_to_thread=False)
def _live() -> dict[str, bool]:
    """Answer that the process is alive."""
    return {"live": True}


@get("/health/ready", sync_to_thread=False)
def _ready(request: Request[Any, Any, Any]) -> Response[Readiness | dict[str, bool]]:
    """Answer 200 when the store works and every route has a usable instance, else 503.

    Only a client that may read the metrics gets the reasons.
    """
    ready = services_of(request).health.readiness()
    content = ready if _may_read_metrics(request) else {"ready": ready.ready}
    return Response(content, status_code=200 if ready.ready else 503)


@get("/metrics")
async def _metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Return the metrics for Prometheus; the answer is 404 for a client that may not read them."""
    if not _may_read_metrics(request):
        return Response(b"", status_code=404)
    services = services_of(request)
    has_siblings = bool(own_number())
    scrape = services.scrape
    text = await (metrics_of_all(services.settings, scrape) if has_siblings else scrape())
    return Response(text, headers={"content-type": CONTENT_TYPE})


def _may_read_metrics(request: Request[Any, Any, Any]) -> bool:
    services = services_of(request)
    return services.authenticator.may_read_metrics(_peer(request), request.scope["headers"])


def _peer(request: Request[Any, Any, Any]) -> str | None:
    peer = request.scope["client"]
    return peer[0] if peer else None
