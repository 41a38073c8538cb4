"""What the gateway accepts as an HTTP/1.1 request, and with which status it refuses the rest."""

import re
from typing import Any

import httptools

from gatepost.server.uvicorn_api import Config, HttpToolsProtocol, ServerState

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


class StrictHttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with limits on the size of a head and refusals of ambiguous requests.

    uvicorn limits neither the length of headers nor their number, and treats trailers as headers.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: Any = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
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
            self.parser.feed_data(data)
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
        headers = [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        head = b"%s %s HTTP/1.1\r\n%s\r\n\r\n" % (self.parser.get_method(), self.url, b"\r\n".join(headers))
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._overhead = 0
        return head

    def on_message_begin(self) -> None:
        self._in_head = True
        self._hosts, self._has_coding = 0, False
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        # A trailer must not count as a header: proxies vouch for headers only.
        if self._in_body:
            return
        # Lengths are compared first: this runs for every header, and few have these lengths.
        size = len(name)
        if size == 4 and name.lower() == b"host":
            self._hosts += 1
            # An invalid Host is replaced: no handler needs it, and Litestar would answer 400 before the handlers
            # of /email and /sms, which always answer 200.
            if not _HOST.fullmatch(value):
                value = _INVALID_HOST
        elif size == 17 and name.lower() == b"transfer-encoding" and value.lower() != b"chunked":
            self._has_coding = True
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise InvalidRequest(400, "CONNECT is not supported: the gateway is not a proxy")
            return
        if len(self.headers) > MAX_HEADERS or (
            self._overhead > MAX_HEAD_BYTES and self._head_size() > MAX_HEAD_BYTES
        ):
            raise InvalidRequest(431, _HEAD_TOO_LARGE)
        if self._hosts != 1 and (self._hosts or self.parser.get_http_version() != "1.0"):
            raise InvalidRequest(400, f"a request must have one Host header, but this one has {self._hosts}")
        if self._has_coding and self._is_coded_before_chunked():
            raise InvalidRequest(
                501, "the only supported Transfer-Encoding is chunked: send the body unencoded"
            )
        super().on_headers_complete()
        self._in_head, self._in_body, self._overhead = False, True, 0
        self._update_deadline()

    def _is_coded_before_chunked(self) -> bool:
        """Return whether the body has another coding below the chunks.

        The parser itself refuses a Transfer-Encoding that does not end with chunked.
        """
        values = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        codings = [coding for part in b",".join(values).split(b",") if (coding := part.strip(b" \t"))]
        return len(codings) > 1 and codings[-1] == b"chunked"

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def on_body(self, body: bytes) -> None:
        self._overhead = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._in_head:
            return  # this request is parsed again without its Upgrade header
        self._in_body = False
        self._overhead = 0
        super().on_message_complete()
        if self.cycle.response_complete:
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
