"""What a server owes to these bytes, as the parser says that it stands on."""

from typing import Any
from urllib.parse import unquote

import httptools

CONTRACT = {b"/email", b"/sms"}


class Expected:
    """Takes bytes apart as the server's parser does; ``owed`` tells what is due for each request in them."""

    def __init__(self, data: bytes) -> None:
        self.owed: list[bool] = []
        """For each complete request: whether it is a POST on the contract's endpoints."""
        self._url = b""
        self.ends = False
        """Whether the connection ends with the last of them."""
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
            raise ValueError("more headers than are taken")
        hosts = [name for name, _ in self._headers].count(b"host")
        if hosts > 1 or (not hosts and self._parser.get_http_version() != "1.0"):
            raise ValueError("not one Host")
        codings = b",".join(value for name, value in self._headers if name == b"transfer-encoding")
        if len([one for one in codings.split(b",") if one.strip(b" \t")]) > 1:
            raise ValueError("more than chunks")
        # What follows a wish for another protocol this parser does not say.
        self.ends = self.ends or self._parser.should_upgrade()
        self._is_ours = self._parser.get_method() == b"POST" and path in CONTRACT
        self._last = self._parser.get_http_version() == "1.0" or not self._parser.should_keep_alive()

    def on_message_complete(self) -> None:
        if not self.ends:
            self.owed.append(self._is_ours)
        self.ends = self.ends or self._last
