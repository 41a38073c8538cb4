"""The answers that a server must give to raw bytes, according to the HTTP parser that it uses."""

from typing import Any
from urllib.parse import unquote

import httptools

CONTRACT = {b"/email", b"/sms"}


class Expected:
    """Parses bytes with the server's parser and applies the server's own limits."""

    def __init__(self, data: bytes) -> None:
        self.answers: list[bool] = []
        """One item per complete request: whether it is a POST to an endpoint of the contract."""
        self._url = b""
        self.ends = False
        """Whether the server closes the connection after the last of them."""
        self._parser: Any = httptools.HttpRequestParser(self)
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError:
            pass

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value.lower()))

    def on_headers_complete(self) -> None:
        path = httptools.parse_url(self._url).path
        unquote(path.decode("ascii"))
        if len(self._headers) > 128:
            raise ValueError("more headers than the server accepts")
        hosts = [name for name, _ in self._headers].count(b"host")
        if hosts > 1 or (not hosts and self._parser.get_http_version() != "1.0"):
            raise ValueError("not exactly one Host header")
        codings = b",".join(value for name, value in self._headers if name == b"transfer-encoding")
        if len([one for one in codings.split(b",") if one.strip(b" \t")]) > 1:
            raise ValueError("more than one transfer coding")
        # This parser does not parse what follows an Upgrade.
        self.ends = self.ends or self._parser.should_upgrade()
        self._on_contract = self._parser.get_method() == b"POST" and path in CONTRACT
        self._last = self._parser.get_http_version() == "1.0" or not self._parser.should_keep_alive()

    def on_message_complete(self) -> None:
        if not self.ends:
            self.answers.append(self._on_contract)
        self.ends = self.ends or self._last
