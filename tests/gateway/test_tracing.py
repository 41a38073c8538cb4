"""The trace of a message by a real process: one for its whole way, whatever becomes of the process and the collector."""

import asyncio
import json

import pytest

from collector import Collector, attributes, variables

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
async def collector():
    async with Collector() as collector:
        yield collector


@pytest.fixture
def traced(monkeypatch):
    """Return a function that lets gateways that are started later export to a collector; None: to none."""

    def export_to(collector, **more):
        for name, value in variables(collector, **more).items():
            monkeypatch.setenv(name, value)

    return export_to


def events(process):
    return [
        json.loads(line)["event"] for line in process.log.read_text().splitlines() if line.startswith("{")
    ]


async def test_one_trace_follows_a_message_from_accept_to_callback_over_a_restart(
    deployment, sendgrid, begin, traced, collector
):
    traced(collector)
    process, gateway = await begin(email=["sendgrid-main"])
    answer = await gateway.post(
        "/email",
        {
            "ext_user_id": "anna",
            "from_email_address": "Brand <noreply@brand.example>",
            "subject": "Hello",
            "body": "<p>Hello</p>",
            "email_uid": "uid-1",
            "callback_url": deployment.crm.callback_url,
        },
        traceparent=TRACEPARENT,
    )
    message = answer["ext_message_id"]
    await deployment.crm.wait_for(message, "accepted")
    assert await asyncio.to_thread(process.terminate) == 0
    before = [span.name for span in collector.spans]
    assert sorted(before) == ["accept", "callback", "report", "send"]

    process, _ = await begin()
    (taken,) = sendgrid.taken
    await sendgrid.report([sendgrid.event("delivered", taken)])
    await deployment.crm.wait_for(message, "delivered")
    assert await asyncio.to_thread(process.terminate) == 0

    spans = collector.spans
    assert {span.trace_id.hex() for span in spans} == {message.replace("-", "")}
    root = spans[0]
    assert [link.trace_id.hex() for link in root.links] == [TRACEPARENT.split("-")[1]]
    assert {span.parent_span_id for span in spans[1:]} == {root.span_id}
    steps = [
        (span.name, found.get("gatepost.status") or found.get("gatepost.outcome", ""))
        for span in spans
        for found in [attributes(span)]
    ]
    assert steps == [
        ("accept", ""),
        ("send", "sent"),
        ("report", "accepted"),
        ("callback", "accepted"),
        ("report", "delivered"),
        ("callback", "delivered"),
    ]
    called = attributes(spans[-1])
    assert (called["gatepost.outcome"], called["http.response.status_code"]) == ("acknowledged", 200)
    assert "tracing_on" in events(process)


@pytest.mark.parametrize("trouble", ["away", "hangs"])
async def test_a_collector_in_trouble_delays_no_message_and_no_stop(
    deployment, sendgrid, begin, traced, collector, trouble
):
    collector.hang()
    traced(None if trouble == "away" else collector)
    process, _ = await begin(email=["sendgrid-main"])
    messages = [await deployment.email() for _ in range(3)]
    for message in messages:
        await deployment.crm.wait_for(message, "accepted")
    if trouble == "hangs":
        await collector.requested.wait()
    assert await asyncio.to_thread(process.terminate) == 0
    # Its own last line, so that it was not killed.
    assert events(process)[-1] in {"stopped", "traces_not_exported"}
    assert not collector.bodies


async def test_a_repeated_and_a_refused_request_have_no_span(deployment, sendgrid, begin, traced, collector):
    traced(collector)
    process, _ = await begin(email=["sendgrid-main"])
    message = await deployment.email(email_uid="uid-1")
    assert await deployment.email(email_uid="uid-1") == message
    assert (await deployment.crm.send_email(ext_user_id="nobody"))["error_code"] == 1
    await deployment.crm.wait_for(message, "accepted")
    assert await asyncio.to_thread(process.terminate) == 0
    assert [span.name for span in collector.spans].count("accept") == 1
