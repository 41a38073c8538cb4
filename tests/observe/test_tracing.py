"""Traces by OpenTelemetry: when they are on, what is in them, and that a collector can't hold anything up."""

import asyncio
import os
import subprocess
import sys

import pytest
from structlog.testing import capture_logs

from collector import Collector, attributes, variables
from gatepost.observe import tracing_switch
from gatepost.observe.tracing import NO_TRACING, Origin
from gatepost.observe.tracing_switch import open_tracing, read_switch
from gatepost.outbox import new_id

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
async def collector():
    async with Collector() as collector:
        yield collector


@pytest.fixture
def opened(monkeypatch):
    """Return a function that opens tracing with these variables, which the SDK reads too."""
    begun = []

    def open_with(variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        begun.append(open_tracing(os.environ))
        return begun[-1]

    yield open_with
    for one in begun:
        if getattr(one, "_stopping", None) and one._stopping.ident is None:
            one.stop(0.0)


async def end(spans):
    spans.stop(60.0)
    await spans.stopped()


def accept(spans, message=None, origin=None):
    message = message or new_id()
    spans.accepted(message, client="brand", channel="email", origin=origin)
    return message


def send(spans, message, **fields):
    values = {"instance": "relay", "outcome": "sent", "code": "", "seconds": 0.5, **fields}
    spans.sent(message, client="brand", channel="email", **values)


def call(spans, message, **fields):
    values = {"status": "accepted", "outcome": "acknowledged", "http_status": 200, "seconds": 0.5, **fields}
    spans.called(message, client="brand", channel="email", **values)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_SERVICE_NAME": "gateway", "OTEL_TRACES_SAMPLER": "always_on"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "True"},
    ],
)
def test_traces_are_off_unless_a_variable_asks_for_them(environment):
    assert read_switch(environment) == (False, "")
    assert open_tracing(environment) is NO_TRACING


@pytest.mark.parametrize(
    "environment",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"},
        {"OTEL_TRACES_EXPORTER": "otlp"},
        {"OTEL_TRACES_EXPORTER": "OTLP", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
        {
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
        },
    ],
)
def test_the_standard_variables_turn_them_on(environment):
    assert read_switch(environment) == (True, "")


@pytest.mark.parametrize(
    ("environment", "cure"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "set it to otlp"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http/protobuf"),
    ],
)
def test_what_gatepost_cannot_export_is_a_warning_and_no_trace(environment, cure):
    with capture_logs() as log:
        assert open_tracing(environment) is NO_TRACING
    ((event, problem),) = [(one["event"], one["problem"]) for one in log]
    assert event == "tracing_off"
    assert cure in problem


@pytest.mark.parametrize("missing", ["opentelemetry", "opentelemetry.sdk", "opentelemetry.exporter"])
def test_without_the_extra_the_warning_names_it(monkeypatch, missing):
    def find_spec(name):
        if name.startswith(f"{missing}."):
            raise ModuleNotFoundError(name)
        return True

    monkeypatch.setattr(tracing_switch, "find_spec", find_spec)
    with capture_logs() as log:
        assert open_tracing({"OTEL_TRACES_EXPORTER": "otlp"}) is NO_TRACING
    assert [one["event"] for one in log] == ["tracing_off"]
    assert "pip install '.[otel]'" in log[0]["problem"]


def test_variables_that_the_sdk_refuses_are_a_warning(opened):
    with capture_logs() as log:
        assert opened(variables(None, OTEL_BSP_MAX_QUEUE_SIZE="-1")) is NO_TRACING
    assert [one["event"] for one in log] == ["tracing_off"]


def test_a_gateway_without_traces_imports_nothing_of_them():
    code = (
        "import sys; from gatepost import app; app.open_tracing({});"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_all_steps_of_a_message_are_one_trace_with_its_id(opened, collector):
    spans = opened(variables(collector))
    message = accept(spans, origin=Origin(1_700_000_000_000_000_000, TRACEPARENT))
    send(spans, message, outcome="unavailable", code="503")
    # Another replica, or the same one after a restart.
    later = opened(variables(collector))
    send(later, message, instance="sendgrid")
    later.reported(
        message, client="brand", channel="email", instance="sendgrid", status="delivered", code="250"
    )
    call(later, message, status="delivered", outcome="retry", http_status=0)
    call(later, message, status="delivered")
    await end(spans)
    await end(later)
    trace = bytes.fromhex(message.replace("-", ""))
    assert {span.trace_id for span in collector.spans} == {trace}
    root, *others = collector.spans
    assert (root.name, root.span_id, root.parent_span_id) == ("accept", trace[8:], b"")
    assert {span.parent_span_id for span in others} == {root.span_id}
    assert len({span.span_id for span in collector.spans}) == 6
    assert root.start_time_unix_nano == 1_700_000_000_000_000_000
    (link,) = root.links
    assert (link.trace_id.hex(), link.span_id.hex()) == tuple(TRACEPARENT.split("-")[1:3])
    common = {"gatepost.message": message, "gatepost.client": "brand", "gatepost.channel": "email"}
    assert attributes(root) == common
    found = {span.name: [] for span in others}
    for span in others:
        own = {name: value for name, value in attributes(span).items() if name not in common}
        found[span.name].append((own, span.status.code))
        assert attributes(span).items() >= common.items()
        assert not span.events
        assert not span.status.message
    sent = {"gatepost.instance": "sendgrid", "gatepost.outcome": "sent"}
    called = {"gatepost.status": "delivered", "gatepost.outcome": "acknowledged"}
    assert sorted(found["send"], key=str) == sorted(
        [
            ({"gatepost.instance": "relay", "gatepost.outcome": "unavailable", "gatepost.code": "503"}, 2),
            (sent, 0),
        ],
        key=str,
    )
    assert found["report"] == [
        ({"gatepost.instance": "sendgrid", "gatepost.status": "delivered", "gatepost.code": "250"}, 0)
    ]
    assert sorted(found["callback"], key=str) == sorted(
        [({**called, "gatepost.outcome": "retry"}, 2), ({**called, "http.response.status_code": 200}, 0)],
        key=str,
    )
    sends = [span for span in others if span.name == "send"]
    assert {span.end_time_unix_nano - span.start_time_unix_nano for span in sends} == {500_000_000}


async def test_a_message_from_a_command_has_a_root_too(opened, collector):
    spans = opened(variables(collector))
    accept(spans)
    await end(spans)
    (root,) = collector.spans
    assert root.end_time_unix_nano == root.start_time_unix_nano


@pytest.mark.parametrize(
    "header",
    [b"", b"anna@players.example", b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01", b"\xff\x00", b"00-1-2-3"],
)
async def test_a_header_that_names_no_span_is_no_link(opened, collector, header):
    spans = opened(variables(collector))
    accept(spans, origin=spans.origin([(b"host", b"gateway"), (b"traceparent", header)]))
    await end(spans)
    (root,) = collector.spans
    assert not root.links
    assert "players" not in collector.text


async def test_the_resource_is_named_by_the_standard_variables(opened, collector):
    spans = opened(variables(collector, OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test"))
    accept(spans)
    await end(spans)
    named = opened(variables(collector, OTEL_SERVICE_NAME="brand-gateway"))
    accept(named)
    await end(named)
    first, second = (attributes(request.resource_spans[0].resource) for request in collector.requests)
    assert (first["service.name"], first["deployment.environment.name"]) == ("gatepost", "test")
    assert first["service.version"]
    assert second["service.name"] == "brand-gateway"


@pytest.mark.parametrize("sampler", ["traceidratio", "parentbased_traceidratio"])
async def test_a_ratio_takes_that_part_of_the_messages_with_all_their_spans(opened, collector, sampler):
    spans = opened(variables(collector, OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG="0.25"))
    for _ in range(400):
        call(spans, accept(spans))
    await end(spans)
    names = {}
    for span in collector.spans:
        names.setdefault(span.trace_id, []).append(span.name)
    assert {tuple(sorted(one)) for one in names.values()} == {("accept", "callback")}
    # Ten standard deviations around 100.
    assert 14 < len(names) < 186


async def test_the_sampler_that_takes_nothing_exports_nothing(opened, collector):
    spans = opened(variables(collector, OTEL_TRACES_SAMPLER="always_off"))
    accept(spans)
    await end(spans)
    assert not collector.bodies


async def test_a_collector_that_hangs_holds_up_nothing_and_memory_is_bounded(opened, collector, monkeypatch):
    collector.hang()
    size = {"OTEL_BSP_MAX_QUEUE_SIZE": "100", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "50"}
    spans = opened(variables(collector, **size))
    accept(spans)
    await collector.requested.wait()
    with capture_logs():
        for _ in range(1_000):
            accept(spans)
    monkeypatch.setattr("gatepost.observe.spans.STOP_TIMEOUT", 0.01)
    spans.stop(60.0)
    await spans.stopped()
    assert spans._stopping.is_alive()
    collector.recover()
    await asyncio.to_thread(spans._stopping.join)
    # The first one was under way, and the queue kept the newest.
    assert len(collector.spans) == 1 + 100


async def test_a_collector_that_is_away_is_a_warning_once_a_minute_without_secrets(opened, collector):
    with capture_logs() as log:
        spans = opened(
            variables(
                None,
                OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20galumphing-back",
                OTEL_EXPORTER_OTLP_TIMEOUT="0.1",
            )
        )
        for _ in range(3):
            accept(spans)
            spans._processor.force_flush()
        await end(spans)
    failures = [one for one in log if one["event"] == "traces_not_exported"]
    assert 1 <= len(failures) <= 2  # one of each level
    assert "galumphing" not in str(log)


async def test_a_secret_in_a_header_is_removed_from_the_warning(opened):
    with capture_logs() as log:
        spans = opened(
            variables(
                None,
                OTEL_EXPORTER_OTLP_HEADERS="authorization=galumphing-%0Aback",
                OTEL_EXPORTER_OTLP_TIMEOUT="0.1",
            )
        )
        accept(spans)
        await end(spans)
    assert "traces_not_exported" in str(log)
    assert "galumphing" not in str(log)


async def test_headers_of_the_variables_are_sent(opened, collector):
    spans = opened(variables(collector, OTEL_EXPORTER_OTLP_HEADERS="x-tenant=brand"))
    accept(spans)
    await end(spans)
    assert collector.headers[0]["x-tenant"] == "brand"


async def test_no_tracing_takes_every_step_and_stops_at_once():
    assert NO_TRACING.origin([(b"traceparent", TRACEPARENT.encode())]) is None
    message = accept(NO_TRACING)
    send(NO_TRACING, message)
    call(NO_TRACING, message)
    NO_TRACING.stop(1.0)
    await NO_TRACING.stopped()
