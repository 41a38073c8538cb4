"""What the gateway accepts as an HTTP/1.1 request, and with which status it refuses the rest."""

import asyncio
import re
import urllib.parse
from typing import Any

import httptools

from gatepost.server.exchange import Exchange

MAX_HEAD_BYTES = 32 * 1024
"""Bytes of a request's head, and of everything in a body that is not content: trailers and chunk extensions."""
MAX_HEADERS = 128
MIN_REQUEST_BYTES = 16
"""Every request is longer than this: ``GET / HTTP/1.1`` and two line ends are 18 bytes."""

_HOST = re.compile(rb"[0-9A-Za-z._:\[\]-]{1,255}")
_INVALID_HOST = b"host.invalid"
_HEAD_TOO_LARGE = f"the request's head has more than {MAX_HEAD_BYTES // 1024} KiB or {MAX_HEADERS} headers"


class InvalidRequest(Exception):
    """A request that can't be parsed; ``problem`` is sent to the client and quotes nothing of the request."""

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status = status
        self.problem = problem


def end_of_requests(data: bytes, begin: int, count: int) -> int:
    """Return where to cut ``data`` so that the piece from ``begin`` holds the heads of at most ``count`` requests.

    Each request has at least one line and MIN_REQUEST_BYTES bytes. So both ``count`` lines and ``count`` times
    MIN_REQUEST_BYTES are safe, and the longer of the two pieces is used.
    """
    by_size = min(begin + count * MIN_REQUEST_BYTES, len(data))
    end = begin
    for _ in range(count):
        end = data.find(b"\n", end) + 1
        if not end:
            return len(data)
    return max(end, by_size)


class StrictHttpProtocol(asyncio.Protocol):
    """The reading side of an HTTP/1.1 connection: limits the size of a head, and refuses ambiguous requests.

    The methods whose names begin with ``on_`` are the callbacks of the parser.
    """

    def __init__(self) -> None:
        self.client: Any = None
        """Who has connected: the address and the port of a TCP connection."""
        self.newest: Exchange | None = None
        """The exchange of the newest request whose head has come."""
        self._addresses: dict[str, Any] = {}
        """What is the same in the ASGI scopes of all requests."""
        self._new_parser()
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._in_head = False
        """Whether a request's head has begun and not ended."""
        self._in_body = False
        """Whether a head has ended and its body has not."""
        self._overhead = 0
        """Bytes received since the last byte of a body's content."""
        self._hosts = 0
        """Host headers of the current head."""
        self._has_coding = False
        """Whether the current head has a Transfer-Encoding other than ``chunked``."""
        self._expects_continue = False
        """Whether the client sends the body of the current request only when it is told to."""

    def _new_parser(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        # The answer to a request that closes the connection is still sent when the client goes on sending.
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)

    def _begin(self, scope: dict[str, Any], *, keep_alive: bool, expects_continue: bool) -> Exchange:
        """Return a new exchange, which the application answers now or after those before it."""
        raise NotImplementedError

    def _update_deadline(self) -> None:
        """Decide anew whom the connection waits for; called when a request's head or body has ended."""
        raise NotImplementedError

    def _parse(self, data: bytes) -> int:
        """Parse received bytes and return how many were used; the others have to be parsed by a further call.

        Raises InvalidRequest.
        """
        self._overhead += len(data)
        upgrade_at: int | None = None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            upgrade_at = upgrade.args[0]
        except httptools.HttpParserError as error:
            raise _invalid_request(error) from None
        if upgrade_at is not None:
            # Outside the except block: there the upgrade would replace the context by which _invalid_request
            # recognises the errors of our own callbacks.
            self._parse(self._head_without_upgrade())
            return upgrade_at
        if self._overhead > MAX_HEAD_BYTES and (self._in_head or self._in_body):
            raise InvalidRequest(431, _HEAD_TOO_LARGE)
        return len(data)

    def _head_without_upgrade(self) -> bytes:
        """Return the current head without its Upgrade header, and start a new parser for it.

        The gateway never changes protocols, and the parser skips the body of a request that asks for it.
        """
        headers = [name + b": " + value for name, value in self._headers if name != b"upgrade"]
        head = b"%s %s HTTP/1.1\r\n%s\r\n\r\n" % (self._parser.get_method(), self._url, b"\r\n".join(headers))
        self._new_parser()
        self._overhead = 0
        return head

    def on_message_begin(self) -> None:
        self._in_head = True
        self._hosts, self._has_coding, self._expects_continue = 0, False, False
        self._url, self._headers = b"", []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        # A trailer must not count as a header: proxies vouch for headers only.
        if self._in_body:
            return
        name = name.lower()
        if name == b"host":
            self._hosts += 1
            # An invalid Host is replaced: no handler needs it, and Litestar would answer 400 before the handlers
            # of /email and /sms, which always answer 200.
            if not _HOST.fullmatch(value):
                value = _INVALID_HOST
        elif name == b"transfer-encoding":
            self._has_coding = self._has_coding or value.lower() != b"chunked"
        elif name == b"expect" and value.lower() == b"100-continue":
            self._expects_continue = True
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        if parser.should_upgrade():
            if parser.get_method() == b"CONNECT":
                raise InvalidRequest(400, "CONNECT is not supported: the gateway is not a proxy")
            return
        version = parser.get_http_version()
        self._check_head(version)
        target = httptools.parse_url(self._url)
        path = target.path.decode("ascii")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            **self._addresses,
            "client": self.client,
            "method": parser.get_method().decode("ascii"),
            "path": urllib.parse.unquote(path) if "%" in path else path,
            "raw_path": target.path,
            "query_string": target.query or b"",
            "root_path": "",
            "headers": self._headers,
            "state": {},
            "extensions": {},
        }
        self._in_head, self._in_body, self._overhead = False, True, 0
        keep_alive = version != "1.0" and parser.should_keep_alive()
        self.newest = self._begin(scope, keep_alive=keep_alive, expects_continue=self._expects_continue)
        self._update_deadline()

    def _check_head(self, version: str) -> None:
        """Raise InvalidRequest unless the head is one that every server reads the same way, and not too large."""
        if len(self._headers) > MAX_HEADERS or (
            self._overhead > MAX_HEAD_BYTES and self._head_size() > MAX_HEAD_BYTES
        ):
            raise InvalidRequest(431, _HEAD_TOO_LARGE)
        if self._hosts != 1 and (self._hosts or version != "1.0"):
            raise InvalidRequest(400, f"a request must have one Host header, but this one has {self._hosts}")
        if self._has_coding and self._is_coded_before_chunked():
            raise InvalidRequest(
                501, "the only supported Transfer-Encoding is chunked: send the body unencoded"
            )

    def _is_coded_before_chunked(self) -> bool:
        """Return whether the body has another coding below the chunks.

        The parser itself refuses a Transfer-Encoding that does not end with chunked.
        """
        values = [value.lower() for name, value in self._headers if name == b"transfer-encoding"]
        codings = [coding for part in b",".join(values).split(b",") if (coding := part.strip(b" \t"))]
        return len(codings) > 1 and codings[-1] == b"chunked"

    def _head_size(self) -> int:
        return len(self._url) + sum(len(name) + len(value) + 4 for name, value in self._headers)

    def on_body(self, body: bytes) -> None:
        self._overhead = 0
        assert self.newest is not None
        self.newest.add(body)

    def on_message_complete(self) -> None:
        if self._in_head:
            return  # this request is parsed again without its Upgrade header
        self._in_body = False
        self._overhead = 0
        assert self.newest is not None
        self.newest.end_body()
        if self.newest.response_complete:
            self._update_deadline()


def _invalid_request(error: httptools.HttpParserError) -> InvalidRequest:
    """Return the InvalidRequest that a callback raised, or one for the parser's own error.

    The parser's texts are a fixed list and quote nothing. In a callback only the request's target can be invalid.
    """
    cause = error.__context__
    if isinstance(cause, InvalidRequest):
        return cause
    problem = str(error)
    if isinstance(error, httptools.HttpParserCallbackError):
        problem = "its target can't be parsed"
    return InvalidRequest(400, f"this is not HTTP/1.1: {problem}")
