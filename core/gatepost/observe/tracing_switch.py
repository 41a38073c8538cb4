"""Whether messages are traced: the standard variables of OpenTelemetry decide, and not the configuration."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import NamedTuple

from gatepost.observe import logs
from gatepost.observe.tracing import NO_TRACING, Tracing

PROTOCOL = "http/protobuf"
"""The only protocol of a collector that the extra can speak."""

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_EXPORTER = "OTEL_TRACES_EXPORTER"

_log = logs.get(__name__)


class Switch(NamedTuple):
    """What the standard variables of OpenTelemetry say about traces."""

    on: bool
    problem: str = ""
    """Why there are no traces although a variable asks for them, and what to do."""


def read_switch(environment: Mapping[str, str]) -> Switch:
    """Return whether these variables ask for traces, and whether they can be had."""
    exporter = environment.get(_EXPORTER, "").strip().lower()
    wanted = exporter or any(environment.get(name) for name in _ENDPOINTS)
    if not wanted or exporter == "none" or environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
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
