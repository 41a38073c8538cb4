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
        self._write: Callable[[dict[str, object]], None] | None = None
        if is_on and log_format == "json" and isinstance(self._handler, logging.StreamHandler):
            self._write = self._write_later
        elif is_on:
            self._write = _write_to_log
        self._lines: list[bytes] = []

    def accepted(self, message: str, *, client: str, channel: str, uid: str, user: str) -> None:
        """Write that a message of Smartico's was stored."""
        self._step("message_accepted", message=message, client=client, channel=channel, uid=uid, user=user)

    def refused(self, *, client: str, channel: str, code: int, reason: str, uid: str, user: str) -> None:
        """Write that a request of Smartico's was refused; ``reason`` is the gateway's own text."""
        self._step(
            "request_refused", client=client, channel=channel, code=code, reason=reason, uid=uid, user=user
        )

    def tried(
        self, message: str, *, client: str, uid: str, instance: str, outcome: str, code: str, seconds: float
    ) -> None:
        """Write that an instance was asked to send a message, and what came of it."""
        self._step(
            "message_tried",
            message=message,
            client=client,
            uid=uid,
            instance=instance,
            outcome=outcome,
            code=code,
            seconds=round(seconds, 3),
        )

    def merge_fields_empty(self, message: str, *, client: str, uid: str, attributes: Iterable[str]) -> None:
        """Write that merge fields of a message were filled with nothing, because the contact lacks these attributes."""
        names = " ".join(islice(attributes, MAX_ATTRIBUTES))
        self._step(
            "merge_fields_empty", message=message, client=client, uid=uid, attributes=redact_patterns(names)
        )

    def recorded(self, message: str, *, client: str, status: str, code: str, instance: str) -> None:
        """Write that a status of a message was stored."""
        self._step(
            "status_recorded", message=message, client=client, status=status, code=code, instance=instance
        )

    def acknowledged(self, message: str, *, client: str, status: str, attempt: int) -> None:
        """Write that Smartico has acknowledged a status."""
        self._step("status_acknowledged", message=message, client=client, status=status, attempt=attempt)

    def _step(self, event: str, *, uid: str = "", user: str = "", **ids: object) -> None:
        if self._write is None:
            return
        if uid:
            ids["uid"] = redact_patterns(uid)
        if user and self._has_users:
            ids["user"] = redact_patterns(user)
        self._write({"event": event} | {name: value for name, value in ids.items() if value != ""})

    def _write_later(self, fields: dict[str, object]) -> None:
        fields["logger"] = _LOGGER
        fields["level"] = "info"
        # Becomes the same text as in the other lines.
        fields["timestamp"] = datetime.now(UTC)
        line = msgspec.json.encode(fields)
        # As the other lines are written: some programs take more than a line feed for the end of a line.
        self._lines.append(line if line.isascii() else json.dumps(json.loads(line)).encode())
        if len(self._lines) == 1:
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Write what has gathered."""
        if not self._lines:
            return
        text = b"\n".join([*self._lines, b""]).decode()
        self._lines.clear()
        assert isinstance(self._handler, logging.StreamHandler)
        stream: TextIO = self._handler.stream
        # As in the handler: a log that can't be written must not stop the gateway.
        with suppress(OSError, ValueError):
            stream.write(text)
            stream.flush()


def _write_to_log(fields: dict[str, object]) -> None:
    event = str(fields.pop("event"))
    _log.info(event, **fields)


NO_TRAIL = Trail()
"""Writes nothing."""
