"""A collector of OpenTelemetry for the run: what the gateway exports comes here, and to no other collector."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from gatepost.observe.tracing_switch import read_switch
from gatepost.prove import places
from gatepost.prove.outcomes import Outcomes
from gatepost.prove.places import Place
from gatepost.testing.serving import serving

TRACES = "traces"
"""The kind of place."""

_EXPORTED = "exported to a collector on this machine"


class TraceCollector:
    """Keeps every request of the exporter, with its headers."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[bytes] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator["TraceCollector"]:
        """Take requests while the block runs."""
        async with serving(web.Server(self._take, access_log=None)) as self.url:
            yield self

    async def _take(self, request: web.BaseRequest) -> web.Response:
        headers = "\n".join(f"{name}: {value}" for name, value in request.headers.items())
        self.requests.append(headers.encode() + b"\n" + await request.read())
        return web.Response(content_type="application/x-protobuf")

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """Return the variables of the gateway: the operator's own without those that lead to the operator's collector."""
        own = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": self.url}
        others = {name: value for name, value in inherited.items() if not name.startswith("OTEL_")}
        return {**others, **own} if read_switch(own).on else others

    def places(self, outcomes: Outcomes) -> list[Place]:
        """Return what came, and note whether something did."""
        if self.requests:
            outcomes.done(TRACES, _EXPORTED)
            return [places.outputs_of(TRACES, self.requests)]
        problem = "nothing came: their libraries are not installed (gatepost[otel]), or the log says why"
        outcomes.missing(TRACES, _EXPORTED, problem)
        return []
