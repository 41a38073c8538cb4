"""Webhooks of a whole gateway: the answer to a report, and the statuses that Smartico gets."""

import asyncio
import sqlite3
import time
import urllib.parse

import pytest
import structlog
import yarl

from gatepost.body_limit import BodyLimit
from gatepost.outbox import sqlite
from gatepost.testing import emulator, report_sender
from gatepost.testing.webhook_requests import webhook_request


@pytest.fixture
def report(deployment, sendgrid):
    """Return a function that reports one event about the first message and returns the HTTP status."""

    async def send(kind="delivered", **how):
        (status,) = await sendgrid.report([sendgrid.event(kind, sendgrid.taken[0])], **how)
        return status

    return send


async def test_unknown_names_and_instances_without_a_key_are_404(deployment, sendgrid, vonage):
    del deployment.tables["plugins.sendgrid-main"]["webhook_public_key"]
    async with deployment.running(email=["sendgrid-main"], sms=["vonage-eu"]) as gateway:
        for name in ("sendgrid-main", "players", "nobody", "sendgrid-main/x", ""):
            async with gateway.http.post(f"{gateway.url}/webhooks/{name}", json=[]) as response:
                assert (name, response.status) == (name, 404)


@pytest.fixture
async def answers(deployment, sendgrid):
    """Return a function that calls unknown names and instances without a key, and returns the different answers."""
    del deployment.tables["plugins.sendgrid-main"]["webhook_public_key"]
    deployment.tables["plugins.relay"] = {"use": "smtp", "host": "127.0.0.1", "port": 1, "security": "none"}
    async with deployment.running(email=["sendgrid-main", "relay"]) as gateway:

        async def answer(name, method, data):
            data = data() if callable(data) else data
            async with gateway.http.request(method, f"{gateway.url}/webhooks/{name}", data=data) as response:
                headers = frozenset((key, value) for key, value in response.headers.items() if key != "Date")
                return response.status, headers, await response.read()

        async def call_all(method="POST", data=b""):
            names = "sendgrid-main", "relay", "players", "nobody", "x" * 200, "%00"
            return set(await asyncio.gather(*(answer(name, method, data) for name in names)))

        yield call_all


@pytest.mark.parametrize("body", [b"", b"[]", b"not JSON", b"x" * 100_000])
async def test_no_answer_shows_whether_an_instance_without_a_key_exists(answers, body):
    ((status, _, text),) = await answers(data=body)
    assert (status, text) == (404, b"")
    ((status, _, text),) = await answers("GET")
    assert (status, text) == (404, b"")


@pytest.fixture
def small_body_limit(monkeypatch):
    """Let a few hundred bytes of bodies reach the limit of a gateway that starts now."""
    monkeypatch.setattr("gatepost.webhooks.handler.MAX_BODIES", 500)


async def test_bodies_have_the_same_limits_whether_an_instance_exists_or_not(
    small_body_limit, answers, monkeypatch
):
    """An earlier answer would show whether the instance exists."""

    async def unfinished():
        yield b"["
        await asyncio.Event().wait()

    for method in ("PUT", "DELETE"):
        ((status, _, _),) = await answers(method)
        assert status == 405
    monkeypatch.setattr("gatepost.webhooks.handler.MAX_BODY", 1_000)
    ((status, _, _),) = await answers(data=b"x" * 1_001)
    assert status == 413
    ((status, _, _),) = await answers(data=b"x" * 900)
    assert status == 503
    monkeypatch.setattr("gatepost.web.body.BODY_TIMEOUT", 0.05)
    ((status, _, _),) = await answers(data=unfinished)
    assert status == 408


async def test_the_query_of_an_unverified_request_is_not_parsed(deployment, sendgrid, monkeypatch):
    """It may be as long as a request's head, and parsing it would block the event loop for milliseconds."""
    seen = []
    unquote = urllib.parse.unquote
    monkeypatch.setattr(
        urllib.parse, "unquote", lambda text, *how, **more: seen.append(text) or unquote(text, *how, **more)
    )
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        for name, status in (("sendgrid-main", 401), ("nobody", 404)):
            url = f"{gateway.url}/webhooks/{name}?{'canary=%41&' * 2000}"
            async with gateway.http.post(yarl.URL(url, encoded=True), data=b"[]") as response:
                assert response.status == status
    assert not [text for text in seen if "canary" in text]


@pytest.mark.parametrize("tampering", ["unsigned", "forged", "flipped"])
async def test_a_report_without_a_valid_signature_is_401(deployment, report, tampering):
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        message = await deployment.email()
        await deployment.hears(message, "accepted")
        assert await report(tampering=tampering) == 401
        await gateway.settled()
        assert deployment.crm.statuses_of(message) == ["accepted"]


async def test_a_stale_signature_is_401_and_one_of_a_day_ago_is_not(deployment, report):
    async with deployment.running(email=["sendgrid-main"]):
        message = await deployment.email()
        await deployment.hears(message, "accepted")
        assert await report(at=time.time() - 26 * 3600 - 60) == 401
        assert await report(at=time.time() - 25 * 3600) == 200
        await deployment.hears(message, "accepted", "delivered")


@pytest.mark.parametrize("body", [b"", b"not JSON", b"{}", b'"text"', b"[" * 5000, b"\xff\xfe"])
async def test_a_signed_body_that_is_not_a_report_is_400(deployment, sendgrid, body):
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        headers = dict(sendgrid.sign(webhook_request(body=body)).headers)
        async with gateway.http.post(sendgrid.webhook_url, data=body, headers=headers) as response:
            assert response.status == 400


async def test_other_methods_are_405(deployment, sendgrid):
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        for method in ("PUT", "DELETE", "PATCH"):
            async with gateway.http.request(method, sendgrid.webhook_url) as response:
                assert (method, response.status) == (method, 405)


async def test_a_body_that_is_too_large_is_413(deployment, sendgrid, monkeypatch):
    monkeypatch.setattr("gatepost.webhooks.handler.MAX_BODY", 10_000)
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        async with gateway.http.post(sendgrid.webhook_url, data=b"x" * 10_001) as response:
            assert response.status == 413

        async def in_pieces():
            for _ in range(11):
                yield b"x" * 1_000

        async with gateway.http.post(sendgrid.webhook_url, data=in_pieces()) as response:
            assert response.status == 413


async def test_all_bodies_together_have_a_limit(deployment, sendgrid, report, monkeypatch, wait_until):
    """Anyone may begin to send a body and then wait until the deadline."""
    limit = BodyLimit(30_000)
    monkeypatch.setattr("gatepost.webhooks.handler.BodyLimit", lambda _max_bytes: limit)
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        message = await deployment.email()
        await deployment.hears(message, "accepted")
        go_on = asyncio.Event()

        async def slowly():
            yield b"x" * 14_000
            await go_on.wait()

        async def post(data):
            async with gateway.http.post(sendgrid.webhook_url, data=data) as response:
                return response.status

        waiting = [asyncio.create_task(post(slowly())) for _ in range(2)]
        await wait_until(lambda: limit.used == 28_000)
        assert await post(b"x" * 14_000) == 503
        assert await post(b"x" * 1_000) == 401
        go_on.set()
        assert await asyncio.gather(*waiting) == [401, 401]
        assert await post(b"x" * 29_000) == 401
        assert await report() == 200
        await deployment.hears(message, "accepted", "delivered")


async def test_refusals_are_logged_once_a_minute(deployment, sendgrid, report):
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        await deployment.hears(await deployment.email(), "accepted")
        with structlog.testing.capture_logs() as logged:
            for _ in range(20):
                assert await report(tampering="unsigned") == 401
            assert await report(tampering="flipped") == 401
        figures = await gateway.metrics()
    assert [one["event"] for one in logged].count("webhook_refused") == 1
    assert figures["gatepost_webhooks_total", "sendgrid-main", "401"] == 21


async def test_while_the_store_is_down_a_report_is_503_and_a_message_12(
    deployment, sendgrid, report, monkeypatch
):
    """Another process has locked the file; when it unlocks it, everything continues."""
    patient = tuple(text for text in sqlite._PRAGMAS if not text.startswith("busy_timeout"))
    monkeypatch.setattr(sqlite, "_PRAGMAS", (*patient, "busy_timeout=20"))
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        message = await deployment.email(email_uid="one")
        await deployment.hears(message, "accepted")
        await gateway.settled()
        other = sqlite3.connect(deployment.folder / "gatepost.db")
        other.execute("BEGIN IMMEDIATE")
        assert await report() == 503
        assert (await deployment.crm.send_email(ext_user_id="anna", email_uid="two"))["error_code"] == 12
        assert (await deployment.crm.send_email(ext_user_id="anna", email_uid="one"))["error_code"] == 12
        other.rollback()
        other.close()
        assert await report() == 200
        await deployment.hears(message, "accepted", "delivered")
        assert await deployment.email(email_uid="one") == message
        await deployment.hears(await deployment.email(email_uid="two"), "accepted")
    assert len(sendgrid.taken) == 2


async def test_events_about_unknown_messages_are_counted_and_the_others_recorded(deployment, sendgrid):
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        message = await deployment.email()
        await deployment.hears(message, "accepted")
        known = sendgrid.event("delivered", sendgrid.taken[0])
        unknown = {**known, "gp_id": "0" * 8 + "-0000-7000-8000-" + "0" * 12, "sg_message_id": "x" * 22}
        answers = await sendgrid.report([unknown, "no event", {"event": 7}, known, unknown])
        assert answers == [200]
        await deployment.hears(message, "accepted", "delivered")
        figures = await gateway.metrics()
    assert figures["gatepost_reported_events_total", "unknown", "sendgrid-main"] == 2
    assert figures["gatepost_reported_events_total", "ignored.malformed", "sendgrid-main"] == 2


async def test_with_replays_and_duplicates_in_any_order_each_status_is_sent_once(deployment, sendgrid):
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        message = await deployment.email()
        await deployment.hears(message, "accepted")
        events = [
            sendgrid.event(kind, sendgrid.taken[0]) for kind in ("open", "delivered", "open", "processed")
        ]
        for _ in range(3):
            assert await sendgrid.report(events, batch=1, copies=2) == [200] * 8
        await gateway.settled()
        await deployment.hears(message, "accepted", "opened", "delivered")
        figures = await gateway.metrics()
    assert figures["gatepost_reported_events_total", "repeated", "sendgrid-main"] == 3 * 8 - 2


@pytest.mark.parametrize("channel", ["email", "sms"])
async def test_a_report_that_arrives_before_the_answer_to_the_send_finds_its_message(
    deployment, sendgrid, vonage, channel
):
    provider = sendgrid if channel == "email" else vonage
    provider.automatic_reports = report_sender.AutomaticReports(kinds=["delivered"], before_answer=True)
    async with deployment.running(email=["sendgrid-main"], sms=["vonage-eu"]) as gateway:
        message = await (deployment.email() if channel == "email" else deployment.sms())
        await deployment.hears(message, "accepted", "delivered")
        await gateway.settled()
        # The provider's id came later, and reports without our id find the message by it nevertheless.
        kind = "spamreport" if channel == "email" else "read"
        event = provider.event(kind, provider.taken[0])
        del event["gp_id" if channel == "email" else "client_ref"]
        assert await provider.report([event]) == [200]
        await deployment.hears(
            message, "accepted", "delivered", "complained" if channel == "email" else "opened"
        )
        await gateway.settled()
    assert provider.sends(message) == 1


async def test_a_report_with_only_the_providers_id_counts_for_that_instance_alone(deployment, sendgrid):
    deployment.tables["plugins.other"] = deployment.tables["plugins.sendgrid-main"]
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        message = await deployment.email()
        await deployment.hears(message, "accepted")
        event = sendgrid.event("delivered", sendgrid.taken[0])
        del event["gp_id"]
        assert await sendgrid.report([event], to=f"{gateway.url}/webhooks/other") == [200]
        await gateway.settled()
        assert deployment.crm.statuses_of(message) == ["accepted"]
        assert await sendgrid.report([event]) == [200]
        await deployment.hears(message, "accepted", "delivered")


async def test_reports_of_an_instance_on_no_route_about_other_messages_are_ignored(
    deployment, sendgrid, vonage
):
    """Its key may be old or stolen, and it was never asked to send this message."""
    deployment.tables["plugins.other"] = deployment.tables["plugins.sendgrid-main"]
    async with deployment.running(email=["sendgrid-main"], sms=["vonage-eu"]) as gateway:
        message = await deployment.email()
        await deployment.hears(message, "accepted")
        event = sendgrid.event("unsubscribe", sendgrid.taken[0])
        assert await sendgrid.report([event], to=f"{gateway.url}/webhooks/other") == [200]
        # An instance that sends texts knows nothing about emails.
        text = await deployment.sms()
        await deployment.hears(text, "accepted")
        foreign = {**vonage.event("delivered", vonage.taken[0]), "client_ref": message}
        assert await vonage.report([foreign]) == [200]
        await gateway.settled()
        assert deployment.crm.statuses_of(message) == ["accepted"]
        figures = await gateway.metrics()
        assert figures["gatepost_reported_events_total", "unknown", "other"] == 1
        assert figures["gatepost_reported_events_total", "unknown", "vonage-eu"] == 1


async def test_an_instance_that_was_removed_from_the_route_may_report_on_its_own_messages(
    deployment, sendgrid
):
    deployment.tables["plugins.other"] = deployment.tables["plugins.sendgrid-main"]
    async with deployment.running(email=["sendgrid-main"]):
        message = await deployment.email()
        await deployment.hears(message, "accepted")
    async with deployment.running(email=["other"]):
        assert await sendgrid.report([sendgrid.event("delivered", sendgrid.taken[0])]) == [200]
        await deployment.hears(message, "accepted", "delivered")


async def test_a_report_about_a_refused_message_counts_and_it_is_not_sent_again(
    deployment, sendgrid, monkeypatch, wait_until
):
    """The provider answered with an error, and the message would be due again in an hour."""
    monkeypatch.setattr("gatepost.delivery.attempt.retry_delay", lambda _attempt: 3600.0)
    sendgrid.plan(emulator.answer(503))
    async with deployment.running(email=["sendgrid-main"]) as gateway:
        other = await deployment.email()
        await wait_until(lambda: sendgrid.requests)
        message = await deployment.email()
        await deployment.hears(message, "accepted")
        event = {**sendgrid.event("delivered", sendgrid.taken[0]), "gp_id": other}
        assert await sendgrid.report([event]) == [200]
        await deployment.hears(other, "accepted", "delivered")
        await gateway.settled()
    assert sendgrid.sends(other) == 0
