"""The trail of each message in the log: a line for each step, with ids alone.

Every message has several of these lines, so they don't go through the logging of Python: it takes as long for five lines
as the gateway for the whole message. Nothing private can be in them, because they hold only ids, names from the
configuration, and words of the gateway; Smartico's ids are searched for what looks like an address or a number. The
lines of one turn of the event loop are written together.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from typing import Literal, TextIO

import msgspec

from gatepost.observe import logs
from gatepost.observe.redaction import redact_patterns
from gatepost.observe.tracing import NO_TRACING, Tracing

Setting = Literal["ids", "users", "off"]

MAX_ATTRIBUTES = 10
"""Names of attributes in a line."""

_LOGGER = "gatepost.trail"
_log = logs.get(_LOGGER)

_encode_lines = msgspec.json.Encoder().encode_lines


class _Line(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """A line; what is empty is left out."""

    event: str
    message: str = ""
    client: str = ""
    channel: str = ""
    uid: str = ""
    user: str = ""
    instance: str = ""
    outcome: str = ""
    status: str = ""
    code: str | int = ""
    reason: str = ""
    attributes: str = ""
    attempt: int | None = None
    seconds: float | None = None
    logger: str = ""
    level: str = ""
    timestamp: datetime | None = None
    """Becomes the same text as in the other lines."""


class Trail:
    """Writes the lines, in the format and to the stream of the log."""

    def __init__(
        self,
        setting: Setting = "off",
        log_format: logs.Format = "json",
        tracing: Tracing = NO_TRACING,
    ) -> None:
        """Write to the handler that the log has now.

        ``setting``: ``ids`` for message, client and uid, ``users`` for ext_user_id too, ``off`` for no line at all.
        With a log level above ``info`` nothing is written either.
        """
        self.tracing = tracing
        """Records the same steps as spans."""
        self._has_users = setting == "users"
        is_on = setting != "off" and logging.getLogger("gatepost").isEnabledFor(logging.INFO)
        handlers = logging.getLogger().handlers
        # The handler that was configured: a plugin may replace it later.
        self._handler = handlers[0] if handlers else None
        self._write: Callable[[_Line], None] | None = None
        if is_on and log_format == "json" and isinstance(self._handler, logging.StreamHandler):
            self._write = self._write_later
        elif is_on:
            self._write = _write_to_log
        self._lines: list[_Line] = []

    def accepted(self, message: str, *, client: str, channel: str, uid: str, user: str) -> None:
        """Write that a message of Smartico's was stored."""
        if self._write is not None:
            line = _Line(event="message_accepted", message=message, client=client, channel=channel)
            self._write(self._with_ids(line, uid, user))

    def refused(self, *, client: str, channel: str, code: int, reason: str, uid: str, user: str) -> None:
        """Write that a request of Smartico's was refused; ``reason`` is the gateway's own text."""
        if self._write is not None:
            line = _Line(event="request_refused", client=client, channel=channel, code=code, reason=reason)
            self._write(self._with_ids(line, uid, user))

    def tried(
        self, message: str, *, client: str, uid: str, instance: str, outcome: str, code: str, seconds: float
    ) -> None:
        """Write that an instance was asked to send a message, and what came of it."""
        if self._write is not None:
            line = _Line(
                event="message_tried",
                message=message,
                client=client,
                instance=instance,
                outcome=outcome,
                code=code,
                seconds=round(seconds, 3),
            )
            self._write(self._with_ids(line, uid))

    def merge_fields_empty(self, message: str, *, client: str, uid: str, attributes: Iterable[str]) -> None:
        """Write that merge fields of a message were filled with nothing, because the contact lacks these attributes."""
        if self._write is not None:
            names = redact_patterns(" ".join(islice(attributes, MAX_ATTRIBUTES)))
            line = _Line(event="merge_fields_empty", message=message, client=client, attributes=names)
            self._write(self._with_ids(line, uid))

    def recorded(self, message: str, *, client: str, status: str, code: str, instance: str) -> None:
        """Write that a status of a message was stored."""
        if self._write is not None:
            self._write(
                _Line(
                    event="status_recorded",
                    message=message,
                    client=client,
                    status=status,
                    code=code,
                    instance=instance,
                )
            )

    def acknowledged(self, message: str, *, client: str, status: str, attempt: int) -> None:
        """Write that Smartico has acknowledged a status."""
        if self._write is not None:
            self._write(
                _Line(
                    event="status_acknowledged",
                    message=message,
                    client=client,
                    status=status,
                    attempt=attempt,
                )
            )

    def _with_ids(self, line: _Line, uid: str, user: str = "") -> _Line:
        """Return the line with Smartico's ids, without what looks like an address or a number in them."""
        line.uid = redact_patterns(uid)
        if self._has_users:
            line.user = redact_patterns(user)
        return line

    def _write_later(self, line: _Line) -> None:
        line.logger, line.level, line.timestamp = _LOGGER, "info", datetime.now(UTC)
        self._lines.append(line)
        if len(self._lines) == 1:
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Write what has gathered."""
        if not self._lines:
            return
        # Taken first: a line that can't be encoded must not hold back all later ones.
        lines, self._lines = self._lines, []
        text = _encode_lines(lines)
        if not text.isascii():
            # As the other lines are written: some programs take more than a line feed for the end of a line.
            text = b"".join(json.dumps(json.loads(line)).encode() + b"\n" for line in text.splitlines())
        assert isinstance(self._handler, logging.StreamHandler)
        stream: TextIO = self._handler.stream
        # As in the handler: a log that can't be written must not stop the gateway.
        with suppress(OSError, ValueError):
            stream.write(text.decode())
            stream.flush()


def _write_to_log(line: _Line) -> None:
    _log.info(
        **{name: value for name, value in msgspec.structs.asdict(line).items() if value not in {"", None}}
    )


NO_TRAIL = Trail()
"""Writes nothing."""
