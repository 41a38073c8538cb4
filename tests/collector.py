"""A collector of OpenTelemetry: a server on loopback that decodes what exporters send by OTLP over HTTP."""

import asyncio
import gzip
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from gatepost.testing.serving import serving


class Collector:
    """Takes spans while it is entered; ``hang`` it to leave requests without an answer."""

    def __init__(self) -> None:
        self.url = ""
        self.bodies: list[bytes] = []
        """What came in, uncompressed."""
        self.headers: list[dict[str, str]] = []
        self._answering = asyncio.Event()
        self._answering.set()
        self.requested = asyncio.Event()
        """Set once a request has come in."""

    async def __aenter__(self):
        self._running = serving(web.Server(self._take, access_log=None))
        self.url = await self._running.__aenter__()
        return self

    async def __aexit__(self, *error):
        await self._running.__aexit__(*error)

    def hang(self) -> None:
        self._answering.clear()

    def recover(self) -> None:
        self._answering.set()

    async def _take(self, request: web.BaseRequest) -> web.Response:
        body = await request.read()
        self.requested.set()
        await self._answering.wait()
        assert (request.method, request.path) == ("POST", "/v1/traces")
        self.headers.append(dict(request.headers))
        is_packed = request.headers.get("Content-Encoding") == "gzip"
        self.bodies.append(gzip.decompress(body) if is_packed else body)
        return web.Response(content_type="application/x-protobuf")

    @property
    def requests(self) -> list[ExportTraceServiceRequest]:
        return [ExportTraceServiceRequest.FromString(body) for body in self.bodies]

    @property
    def spans(self) -> list[Span]:
        """All spans that came in, in the order in which they began."""
        spans = [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        return sorted(spans, key=lambda span: span.start_time_unix_nano)

    @property
    def text(self) -> str:
        """Everything that came in, as text."""
        return "\n".join(str(request) for request in self.requests)


def attributes(span: Any) -> dict[str, str | int]:
    return {pair.key: pair.value.string_value or pair.value.int_value for pair in span.attributes}


def variables(collector: Collector | None, **more: str) -> dict[str, str]:
    """Return the variables that let a gateway export to this collector at once; None: to none that exists."""
    endpoint = collector.url if collector else "http://127.0.0.1:9"
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "50", **more}
