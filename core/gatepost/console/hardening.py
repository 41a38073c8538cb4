"""What holds for every request and answer of the console, also for those that no page takes."""

import re
from collections.abc import Collection
from typing import Any, cast

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from gatepost.web.body import BodyTooLarge, ClientDisconnected, body_headers, read_body

MAX_BODY = 65_536
"""Bytes of a form."""

_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

HEADERS = (
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)

_HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?")

_MAX_PORT = 65_535

_FORM = "application/x-www-form-urlencoded"
"""What browsers send; a parser of any other kind of body would only help who attacks it."""

_SAFE_METHODS = frozenset({"GET", "HEAD"})


class Hardened:
    """An ASGI application that refuses foreign hosts and pages of other sites, and adds security headers.

    It reads each form before the pages do: whole, up to a size, and within a time.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        """``hosts`` are the names, without a port, by which the console may be called.

        Other names are refused, because a site could point a name of its own at this machine (DNS rebinding).
        """
        self._app = app
        self._hosts = frozenset(host.lower().strip("[]") for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        http_scope = cast("Any", scope)
        headers = {name.lower(): value.decode("latin-1") for name, value in http_scope["headers"]}
        is_static = http_scope["path"].startswith("/static/")

        async def send_hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = [*message["headers"], *HEADERS]
                if not is_static:
                    found.append((b"cache-control", b"no-store"))
                message = {**message, "headers": found}
            await send(message)

        status, problem = 403, self._problem(http_scope["method"], headers)
        if not problem and http_scope["method"] not in _SAFE_METHODS:
            try:
                body = await read_body(scope, receive, body_headers(http_scope["headers"]).length, MAX_BODY)
                receive = _replaying(body, receive)
            except BodyTooLarge:
                status, problem = 413, "this form is too large"
            except (TimeoutError, ClientDisconnected):
                status, problem = 408, "this form did not arrive in time"
        if problem:
            await _refuse(send_hardened, status, problem)
        else:
            await self._app(scope, receive, send_hardened)

    def _problem(self, method: str, headers: dict[bytes, str]) -> str:
        """Return why a request is refused; empty where it is not."""
        host = headers.get(b"host", "")
        name = _HOST.fullmatch(host)
        if name is None or (name["v6"] or name["name"]).lower() not in self._hosts:
            return "this host name is not listed: add it to hosts in the [console] table of gatepost.toml"
        if int(name["port"] or 0) > _MAX_PORT:
            return "there is no such port"
        if method in _SAFE_METHODS:
            return ""
        site = headers.get(b"sec-fetch-site", "same-origin")
        origin = headers.get(b"origin", "")
        if site not in {"same-origin", "none"} or (origin and origin.partition("://")[2] != host):
            return "this form was sent from another site"
        if headers.get(b"content-type", _FORM).partition(";")[0].strip().lower() != _FORM:
            return "this is no form of the console"
        return ""


def _replaying(body: bytes, receive: Receive) -> Receive:
    """Return a function that gives a body that was read already, and then what comes after it."""
    events: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Any:
        return events.pop() if events else await receive()

    return replay


async def _refuse(send: Send, status: int, problem: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": problem.encode(), "more_body": False})
