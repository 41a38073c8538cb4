"""The spans of messages, by OpenTelemetry's SDK. Imported only while traces are on.

All spans of a message are in one trace, although hours and restarts may lie between them, and other replicas may record
some of them: the trace's id is the message's id, which is 16 bytes too. The parent of all later spans is ``accept``, whose id is the
message's last 8 bytes. So nothing has to be stored.
"""

import asyncio
import logging
import random
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from urllib.parse import unquote, urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gatepost.model import Secret
from gatepost.observe import logs, redaction
from gatepost.observe.log_throttle import LogThrottle
from gatepost.observe.tracing import STOP_TIMEOUT, Origin, Tracing

_SPAN_ID = (1 << 64) - 1
_TRACE_ID = (1 << 128) - 1
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_NO_PARENT = Context()
_NO_STATUS = Status()
# Without a description, which is where exceptions usually put their texts.
_ERROR = Status(StatusCode.ERROR)
_HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

_log = logs.get(__name__)


class Spans(Tracing):
    """Records spans, and exports them in batches by a thread of the SDK.

    The SDK keeps a bounded number of spans (OTEL_BSP_MAX_QUEUE_SIZE, 2,048) and drops the oldest beyond it, so a collector
    that is away or slow costs some memory and nothing else. The spans don't come from a Tracer: it would need four times the
    CPU, for contexts and ids that these spans don't have.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Start the thread; what the SDK can't use in its variables may raise anything."""
        # The SDK would log each failed export, with what the collector said.
        logger = logging.getLogger("opentelemetry")
        logger.handlers, logger.propagate = [_Problems(_secrets(environment))], False
        ours = Resource({SERVICE_NAME: "gatepost", SERVICE_VERSION: version("gatepost")})
        # The operator's OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES stand above ours, and ours above the SDK's.
        self._resource = Resource.create().merge(ours).merge(OTELResourceDetector().detect())
        self._scope = InstrumentationScope("gatepost", version("gatepost"))
        # Only a provider reads OTEL_TRACES_SAMPLER.
        self._sampler = TracerProvider(shutdown_on_exit=False).sampler
        self._processor = BatchSpanProcessor(OTLPSpanExporter())
        self._stopping = threading.Thread(target=self._processor.shutdown, name="tracing-stop", daemon=True)
        self._stop_by = 0.0

    def origin(self, headers: Iterable[tuple[bytes, bytes]]) -> Origin:
        """Return where a request with these headers comes from."""
        traceparent = next((value for name, value in headers if name == b"traceparent"), b"")
        return Origin(time.time_ns(), traceparent.decode("latin-1"))

    def accepted(self, message: str, *, client: str, channel: str, origin: Origin | None) -> None:
        """Record ``accept``, the root of the trace."""
        now = time.time_ns()
        started_at, traceparent = origin or (now, "")
        self._record(
            "accept",
            SpanKind.SERVER,
            _attributes(message, client, channel),
            started_at,
            now,
            traceparent=traceparent,
        )

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
        """Record ``send``."""
        now = time.time_ns()
        attributes = _attributes(message, client, channel, instance=instance, outcome=outcome, code=code)
        status = _ERROR if outcome != "sent" else _NO_STATUS
        self._record("send", SpanKind.CLIENT, attributes, now - int(seconds * 1e9), now, status)

    def reported(
        self, message: str, *, client: str, channel: str, instance: str, status: str, code: str
    ) -> None:
        """Record ``report``, which takes no time."""
        now = time.time_ns()
        attributes = _attributes(message, client, channel, instance=instance, status=status, code=code)
        self._record("report", SpanKind.INTERNAL, attributes, now, now)

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
        """Record ``callback``."""
        now = time.time_ns()
        attributes = _attributes(message, client, channel, status=status, outcome=outcome)
        if http_status:
            attributes["http.response.status_code"] = http_status
        result = _ERROR if outcome != "acknowledged" else _NO_STATUS
        self._record("callback", SpanKind.CLIENT, attributes, now - int(seconds * 1e9), now, result)

    def stop(self, seconds: float) -> None:
        """Let the SDK export what is left, in a thread that can't keep the process alive."""
        self._stop_by = time.monotonic() + min(seconds, STOP_TIMEOUT)
        self._stopping.start()

    async def stopped(self) -> None:
        """Wait until that has ended, or its time is over."""
        left = max(0.0, self._stop_by - time.monotonic())
        if self._stopping.ident is not None:
            await asyncio.to_thread(self._stopping.join, left)

    def _record(
        self,
        name: str,
        kind: SpanKind,
        attributes: dict[str, str | int],
        started_at: int,
        ended_at: int,
        status: Status = _NO_STATUS,
        *,
        traceparent: str = "",
    ) -> None:
        """Record a span of the message in ``attributes``, if the sampler takes it; times in nanoseconds."""
        trace_id = int(str(attributes["gatepost.message"]).replace("-", ""), 16)
        # For all spans of a message and on every replica the same: the sampler gets nothing but the id, as for the root
        # of a trace. One by ratio compares the last 64 bits and takes them for random, but the first 2 of those are the
        # same in every UUID; with them, a ratio below a half would take no message at all.
        found = self._sampler.should_sample(_NO_PARENT, (trace_id << 2) & _TRACE_ID, name)
        if found.decision is not Decision.RECORD_AND_SAMPLE:
            return
        accept_id = trace_id & _SPAN_ID
        is_accept = name == "accept"
        span_id = accept_id if is_accept else random.getrandbits(64) or 1
        self._processor.on_end(
            ReadableSpan(
                name,
                SpanContext(trace_id, span_id, is_remote=False, trace_flags=_SAMPLED),
                None if is_accept else SpanContext(trace_id, accept_id, is_remote=True, trace_flags=_SAMPLED),
                resource=self._resource,
                attributes=attributes,
                links=_links(traceparent),
                kind=kind,
                status=status,
                start_time=started_at,
                end_time=ended_at,
                instrumentation_scope=self._scope,
            )
        )


class _Problems(logging.Handler):
    """Logs once a minute why spans could not be exported, in place of the SDK's own lines."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        super().__init__(logging.WARNING)
        self._secrets = tuple(secrets)
        self._throttle = LogThrottle(time.monotonic)

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING and self._throttle.due(record.levelname):
            problem = redaction.redact(record.getMessage(), *self._secrets)[:300]
            _log.warning("traces_not_exported", problem=problem)


def _attributes(message: str, client: str, channel: str, **others: str) -> dict[str, str | int]:
    """Return the attributes of a span; those that are empty are left out."""
    return {
        "gatepost.message": message,
        "gatepost.client": client,
        "gatepost.channel": channel,
        **{f"gatepost.{name}": value for name, value in others.items() if value},
    }


def _links(traceparent: str) -> Sequence[Link]:
    """Return a link to the span that the header names; none where it is missing or names none."""
    if not traceparent:
        return ()
    context = TraceContextTextMapPropagator().extract({"traceparent": traceparent}, _NO_PARENT)
    span = get_current_span(context).get_span_context()
    return (Link(span),) if span.is_valid else ()


def _secrets(environment: Mapping[str, str]) -> Iterator[Secret]:
    """Yield what an error of the exporter could quote: the values of its headers, and a password in its URL."""
    for name in _HEADERS:
        for pair in environment.get(name, "").split(","):
            if value := unquote(pair.partition("=")[2]).strip():
                yield Secret(value)
    for name in _ENDPOINTS:
        if password := urlsplit(environment.get(name, "")).password:
            yield Secret(unquote(password))
