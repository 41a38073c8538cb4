"""Answers of HTTP/1.1, read while they arrive. No I/O: httptools parses, and this module decides what is an answer."""

from typing import NamedTuple

import httptools
from multidict import CIMultiDict

MAX_HEAD_BYTES = 64 * 1024
"""Bytes up to the end of an answer's header fields, those of interim answers included."""

_MAX_FRAMING = 8
"""Bytes that may arrive for each byte of a body: sent byte by byte, each chunk takes six."""


class BadAnswer(Exception):
    """What arrived is not an answer of HTTP/1.1, or more than one may be. It has no text, which could quote it."""


class Answer(NamedTuple):
    """An answer."""

    status: int
    headers: CIMultiDict[str]
    body: bytes


class _Enough(Exception):
    """What follows is not part of the answer, or is more than is read of it."""


class AnswerReader:
    """Reads the answer to one request from the bytes of its connection.

    Interim answers (1xx) are skipped. The body is read as it arrives, never decompressed, and cut at ``max_body`` bytes.
    """

    __slots__ = (
        "_body",
        "_has_head",
        "_headers",
        "_max_body",
        "_method",
        "_missing",
        "_parser",
        "_received",
        "_status",
        "is_complete",
        "keeps_connection",
    )

    def __init__(self, method: str, max_body: int) -> None:
        """Begin to read the answer to a request of this method."""
        # Dropped at the end of the answer: the two refer to each other, and the collector would have to find them.
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        # What a browser takes must not leave a message uncertain. A connection has one request at a time, and is closed
        # when anything follows its answer. So a server can't answer a request that it did not get yet.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._max_body = self._missing = max_body
        self._method = method
        self._received = self._status = 0
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._has_head = False
        self.is_complete = False
        self.keeps_connection = False
        """Whether the connection may carry another request."""

    @property
    def has_begun(self) -> bool:
        """Whether anything has arrived."""
        return self._received > 0

    @property
    def answer(self) -> Answer:
        """The answer; it must be complete."""
        return Answer(self._status, CIMultiDict(self._headers), b"".join(self._body))

    def feed(self, data: bytes) -> bool:
        """Read on; return whether the answer is complete. Raises BadAnswer."""
        if self._parser is None:
            # It follows a complete answer.
            self.keeps_connection = False
            return True
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.keeps_connection = False
            if not self.is_complete:
                raise BadAnswer from None
        if self._received > MAX_HEAD_BYTES and not self._has_head:
            raise BadAnswer
        if self._received > MAX_HEAD_BYTES + _MAX_FRAMING * self._max_body:
            # As for a body that is too long: the status has said what became of the request.
            self._end(keeps_connection=False)
        return self.is_complete

    def feed_end(self) -> bool:
        """Read the end of the connection; return whether the answer ends with it. Raises BadAnswer."""
        names = {name.strip().lower() for name, _ in self._headers}
        if not self._has_head or not names.isdisjoint({"content-length", "transfer-encoding"}):
            raise BadAnswer
        self._end(keeps_connection=False)
        return True

    def on_message_begin(self) -> None:
        """Begin an answer; called by the parser, as are the following methods."""
        if self.is_complete:
            raise _Enough

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header field; those behind the body are none of the answer's."""
        if not self._has_head:
            self._headers.append((name.decode("latin-1"), value.decode("utf-8", "replace")))

    def on_headers_complete(self) -> None:
        """End the head."""
        assert self._parser is not None
        self._status = self._parser.get_status_code()
        if self._status < 200:
            self._headers.clear()
            return
        self._has_head = True
        # Asked now, because the parser knows it no more when the body ends. A tunnel begins where the head ends.
        self.keeps_connection = self._method == "CONNECT" or self._parser.should_keep_alive()
        if self._method in {"HEAD", "CONNECT"}:
            # Whatever its header fields say, it has no body.
            self._end(keeps_connection=self.keeps_connection)

    def on_body(self, data: bytes) -> None:
        """Take a part of the body."""
        if self.is_complete:
            raise _Enough
        self._body.append(data[: self._missing])
        self._missing -= len(data)
        if self._missing < 0:
            self._end(keeps_connection=False)
            raise _Enough

    def on_message_complete(self) -> None:
        """End the answer."""
        if self._has_head:
            self._end(keeps_connection=self.keeps_connection)

    def _end(self, *, keeps_connection: bool) -> None:
        self._parser = None
        self.is_complete = True
        self.keeps_connection = keeps_connection
