"""The traces of messages for OpenTelemetry: what the steps of a message call, whether traces are on or not.

A trace holds what the trail holds: ids, names from the configuration, and words of the gateway. Nothing else can get into
it, because a span has no other arguments.
"""

from collections.abc import Iterable
from typing import NamedTuple

STOP_TIMEOUT = 2.0
"""Seconds that a stop waits at most for a collector to take the last spans."""


class Origin(NamedTuple):
    """Where and when a request came in."""

    started_at: int
    """Nanoseconds since the epoch."""
    traceparent: str = ""
    """The caller's span, as its header says; empty without the header."""


class Tracing:
    """Records no spans. Every method costs as much as its call."""

    def origin(self, _headers: Iterable[tuple[bytes, bytes]]) -> Origin | None:
        """Return where a request with these headers comes from; None while there are no traces."""
        return None

    def accepted(self, message: str, *, client: str, channel: str, origin: Origin | None) -> None:
        """Record that a message was stored; without ``origin`` it came from a command."""

    def sent(
        self,
        message: str,
        *,
        client: str,
        channel: str,
        instance: str,
        outcome: str,
        code: str,
        seconds: float,
    ) -> None:
        """Record that an instance was asked to send a message, and has answered after so many seconds."""

    def reported(
        self, message: str, *, client: str, channel: str, instance: str, status: str, code: str
    ) -> None:
        """Record that a status of a message was stored."""

    def called(
        self,
        message: str,
        *,
        client: str,
        channel: str,
        status: str,
        outcome: str,
        http_status: int,
        seconds: float,
    ) -> None:
        """Record a call to Smartico that has ended after so many seconds; ``http_status`` 0: without an answer."""

    def stop(self, _seconds: float) -> None:
        """Begin to export what is left, for at most so many seconds: while the plugins and the store close."""

    async def stopped(self) -> None:
        """Wait until the export that ``stop`` began has ended, or its time is over."""


NO_TRACING = Tracing()
"""Records nothing."""
