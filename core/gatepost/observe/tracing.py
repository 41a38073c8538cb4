"""The traces of messages for OpenTelemetry: when they are on, and what the steps of a message call.

A trace holds what the trail holds: ids, names from the configuration, and words of the gateway. Nothing else can get into
it, because a span has no other arguments.
"""

from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import NamedTuple

from gatepost.observe import logs

STOP_TIMEOUT = 2.0
"""Seconds that a stop waits at most for a collector to take the last spans."""

PROTOCOL = "http/protobuf"
"""The only protocol of a collector that the extra can speak."""

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_EXPORTER = "OTEL_TRACES_EXPORTER"

_log = logs.get(__name__)


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
        """Begin to export what is left, for at most so many seconds."""

    async def stopped(self) -> None:
        """Wait until the export that ``stop`` began has ended, or its time is over."""


NO_TRACING = Tracing()
"""Records nothing."""


class Switch(NamedTuple):
    """What the standard variables of OpenTelemetry say about traces."""

    on: bool
    problem: str = ""
    """Why there are no traces although a variable asks for them, and what to do."""


def read_switch(environment: Mapping[str, str]) -> Switch:
    """Return whether these variables ask for traces, and whether they can be had."""
    exporter = environment.get(_EXPORTER, "").strip().lower()
    asked = exporter or any(environment.get(name) for name in _ENDPOINTS)
    if not asked or exporter == "none" or environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Switch(on=False)
    if exporter not in {"", "otlp"}:
        return Switch(
            on=False, problem=f"{_EXPORTER} names an exporter that Gatepost does not have: set it to otlp"
        )
    protocol = next((value for name in _PROTOCOLS if (value := environment.get(name))), PROTOCOL)
    if protocol != PROTOCOL:
        problem = (
            f"{_PROTOCOLS[1]} is not {PROTOCOL}, the only protocol that Gatepost speaks: set it, and the port"
        )
        return Switch(on=False, problem=f"{problem} of the collector that speaks it (usually 4318)")
    if not _has_extra():
        problem = "traces need OpenTelemetry's SDK and exporter: from your checkout, pip install '.[otel]'; or unset"
        return Switch(on=False, problem=f"{problem} {_EXPORTER} and {_ENDPOINTS[1]}")
    return Switch(on=True)


def _has_extra() -> bool:
    try:
        return all(find_spec(f"opentelemetry.{name}") for name in ("sdk.trace", "exporter.otlp.proto.http"))
    except ModuleNotFoundError:
        return False


def open_tracing(environment: Mapping[str, str]) -> Tracing:
    """Return what records spans, or NO_TRACING; a problem is logged, and never stops the gateway.

    The variables are OpenTelemetry's, and its SDK reads the others itself: sampling, limits, headers, certificates.
    """
    switch = read_switch(environment)
    if switch.problem:
        _log.warning("tracing_off", problem=switch.problem)
    if not switch.on:
        return NO_TRACING
    # Its libraries are an extra.
    from gatepost.observe.spans import Spans  # noqa: PLC0415

    try:
        tracing = Spans(environment)
    except Exception as error:  # noqa: BLE001  the SDK raises what it likes about its variables
        _log.warning("tracing_off", problem=f"OpenTelemetry can't start with its variables (OTEL_*): {error}")
        return NO_TRACING
    _log.info("tracing_on")
    return tracing
