"""The routes of the links in mails: ``/u/TOKEN`` to unsubscribe, and the pixel ``/o/TOKEN.gif``."""

from typing import Any

from litestar import HttpMethod, Request, Response, route
from litestar.handlers.base import BaseRouteHandler

from gatepost.links.mail import PIXEL_PATH, UNSUBSCRIBE_PATH
from gatepost.web.services import services_of

PIXEL = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,"
    b"\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)
"""A transparent GIF of one pixel."""

_HEADERS = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex",
}


def link_routes() -> list[BaseRouteHandler]:
    """Return the routes for the links."""
    return [_unsubscribe, _pixel]


@route(
    UNSUBSCRIBE_PATH + "{token:str}",
    http_method=[HttpMethod.GET, HttpMethod.HEAD, HttpMethod.POST],
    request_max_body_size=None,
)
async def _unsubscribe(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Answer GET and HEAD with the page that has the button, and POST when the user is unsubscribed.

    The body is not read: the token says everything, and a client could send the body slowly to keep this waiting.
    """
    links = services_of(request).unsubscribing
    answer = links.unsubscribe if request.method == HttpMethod.POST else links.question
    page = await answer(request.path_params["token"], request.headers.get("accept-language", ""))
    headers = {
        **_HEADERS,
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": page.policy,
    }
    return Response(page.html, status_code=page.status, headers=headers)


@route(PIXEL_PATH + "{name:str}", http_method=[HttpMethod.GET, HttpMethod.HEAD])
async def _pixel(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Answer with the pixel, after it is recorded that the mail was opened; HEAD records nothing."""
    status = 200
    if request.method == HttpMethod.GET:
        agent = request.headers.get("user-agent", "")
        status = await services_of(request).opens.load(request.path_params["name"], agent)
    body = PIXEL if status == 200 else b""
    return Response(body, status_code=status, headers={**_HEADERS, "content-type": "image/gif"})
