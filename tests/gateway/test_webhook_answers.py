"""What a plugin lets the gateway answer to its provider, through the real HTTP server."""

import json
import sqlite3

import pytest

import reporting_plugin
from gatepost.app import load
from gatepost.errors import BadWebhook, ConfigError, WebhookRetry
from gatepost.model import Report, Status, StatusEvent, WebhookAnswer
from gatepost.outbox import sqlite
from gatepost.plugin_host import discovery
from gatepost.webhooks import handler

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


@pytest.fixture
def plugin(deployment, monkeypatch):
    """Return the class of the instance ``acme``, which sends on both channels."""
    plugin = reporting_plugin.fresh()
    load = discovery.load
    monkeypatch.setattr(discovery, "load", lambda use: plugin if use == "acme" else load(use))
    deployment.tables["plugins.acme"] = {"use": "acme"}
    return plugin


@pytest.fixture
async def gateway(deployment, plugin):
    async with deployment.running(email=["acme"], sms=["acme"]) as gateway:
        yield gateway


@pytest.fixture
def call(gateway):
    """Return a function that calls the webhook, and returns status, headers and body of the answer."""

    async def call(method="POST", query="", name="acme", **how):
        url = f"{gateway.url}/webhooks/{name}{query}"
        async with gateway.http.request(method, url, allow_redirects=False, **how) as response:
            return response.status, response.headers, await response.read()

    return call


def answered(**answer):
    return lambda _request: Report(answer=WebhookAnswer(**answer))


async def test_a_challenge_on_get_is_repeated(plugin, call):
    plugin.translate = staticmethod(reporting_plugin.echo_challenge)
    query = "?hub.mode=subscribe&hub.verify_token=the-token&hub.challenge=1158201444"
    status, headers, body = await call("GET", query)
    assert (status, body) == (200, b"1158201444")
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert {name: headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    status, _, body = await call("GET", query.replace("the-token", "another"))
    assert (status, body) == (401, b"")


async def test_head_is_answered_as_get_without_the_body(plugin, call):
    plugin.translate = staticmethod(reporting_plugin.echo_challenge)
    query = "?hub.verify_token=the-token&hub.challenge=1158201444"
    status, headers, body = await call("HEAD", query)
    assert (status, headers["Content-Length"], body) == (200, "10", b"")
    # On the same connection, so that the client did not take a body for the next answer.
    assert (await call("GET", query))[2] == b"1158201444"
    assert [request.method for request in plugin.requests] == ["GET", "GET"]
    assert (await call("HEAD", name="nobody"))[0] == 404


async def test_twiml_answers_an_incoming_text(plugin, call):
    def translate(request):
        assert dict(request.form)["Body"] == "HELP"
        return Report(
            ignored={"incoming": 1},
            answer=WebhookAnswer(body=b"<Response><Message>Hi</Message></Response>", content_type="text/xml"),
        )

    plugin.translate = staticmethod(translate)
    status, headers, body = await call(data={"From": "+447700900100", "Body": "HELP"})
    assert (status, body) == (200, b"<Response><Message>Hi</Message></Response>")
    assert headers["Content-Type"] == "text/xml"
    assert headers["X-Content-Type-Options"] == "nosniff"


async def test_a_subscription_is_confirmed_with_json(plugin, call):
    def translate(request):
        token = request.json()["Token"]
        return Report(
            answer=WebhookAnswer(
                body=json.dumps({"confirmed": token}).encode(), content_type="application/json"
            )
        )

    plugin.translate = staticmethod(translate)
    status, headers, body = await call(data=json.dumps({"Type": "SubscriptionConfirmation", "Token": "abc"}))
    assert (status, json.loads(body)) == (200, {"confirmed": "abc"})
    assert headers["Content-Type"] == "application/json"


async def test_a_status_that_ends_the_providers_repeats_is_sent_once_its_events_are_on_disk(
    deployment, plugin, gateway, call
):
    """Mailgun repeats a report until it gets a 2xx or a 406."""
    message = await deployment.email()
    await deployment.hears(message, "accepted")
    event = StatusEvent(status=Status.DELIVERED, message_id=message)
    plugin.translate = staticmethod(
        lambda _request: Report(events=[event], answer=WebhookAnswer(status=406, body=b"no more"))
    )
    status, _, body = await call()
    with sqlite3.connect(f"file:{deployment.folder}/gatepost.db?mode=ro", uri=True) as database:
        stored = database.execute("SELECT status FROM statuses ORDER BY seq").fetchall()
    database.close()
    assert (status, body) == (406, b"no more")
    assert stored == [("accepted",), ("delivered",)]
    figures = await gateway.metrics()
    assert figures["gatepost_webhooks_total", "acme", "406"] == 1


async def test_without_an_answer_it_is_empty_with_status_200(call):
    status, headers, body = await call()
    assert (status, body) == (200, b"")
    assert headers["X-Content-Type-Options"] == "nosniff"


class OddBytes(bytes):
    pass


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 199},
        {"status": 500},
        {"status": "200"},
        {"status": True},
        {"status": 200.0},
        {"body": "text"},
        {"body": bytearray(b"x")},
        {"body": OddBytes(b"x")},
        {"body": bytes(65_537)},
        {"body": b"x", "status": 204},
        {"body": b"x", "status": 304},
        {"content_type": "text/html\r\nSet-Cookie: x=1"},
        {"content_type": ""},
        {"content_type": "text/\u00fcml"},
        {"content_type": b"text/plain"},
        {"content_type": "x" * 256},
    ],
    ids=repr,
)
async def test_an_answer_that_can_not_be_sent_is_a_violation_and_the_events_count(
    deployment, plugin, gateway, call, answer
):
    message = await deployment.email()
    await deployment.hears(message, "accepted")
    event = StatusEvent(status=Status.DELIVERED, message_id=message)
    plugin.translate = staticmethod(lambda _request: Report(events=[event], answer=WebhookAnswer(**answer)))
    status, headers, body = await call()
    assert (status, body, headers["Content-Type"]) == (200, b"", "text/plain; charset=utf-8")
    assert "Set-Cookie" not in headers
    await deployment.hears(message, "accepted", "delivered")
    assert (await gateway.metrics())["gatepost_plugin_violations_total", "acme"] == 1


async def test_something_else_than_an_answer_is_a_violation(plugin, gateway, call):
    plugin.translate = staticmethod(lambda _request: Report(answer="<Response/>"))
    assert (await call())[::2] == (200, b"")
    assert (await gateway.metrics())["gatepost_plugin_violations_total", "acme"] == 1


@pytest.mark.parametrize(
    "answer", [{"status": 204}, {"status": 304}, {"body": bytes(65_536)}, {"status": 499}]
)
async def test_the_limits_of_an_answer_are_kept_exactly(plugin, gateway, call, answer):
    plugin.translate = staticmethod(answered(**answer))
    status, _, body = await call()
    assert (status, body) == (answer.get("status", 200), answer.get("body", b""))
    # The connection is in order.
    assert (await call())[0] == status
    assert (await gateway.metrics())["gatepost_plugin_violations_total", "acme"] == 0


async def test_every_header_is_in_the_request_as_it_came(plugin, call):
    await call(headers=[("X-Sign", "one"), ("X-Sign", "two")])
    (request,) = plugin.requests
    assert [pair for pair in request.header_list if pair[0] == "x-sign"] == [
        ("x-sign", "one"),
        ("x-sign", "two"),
    ]
    assert request.headers["x-sign"] == "one, two"


async def test_the_plugins_own_status_asks_its_provider_to_repeat(plugin, gateway, call):
    def refuse(error):
        def translate(_request):
            raise error

        plugin.translate = staticmethod(translate)

    refuse(WebhookRetry("later"))
    assert (await call())[0] == 429
    refuse(ValueError("a bug"))
    assert (await call())[0] == 429
    refuse(BadWebhook("not ours"))
    assert (await call())[0] == 400
    figures = await gateway.metrics()
    assert figures["gatepost_webhooks_total", "acme", "429"] == 2
    assert ("gatepost_webhooks_total", "acme", "503") not in figures


async def test_while_the_store_is_down_the_answer_is_the_retry_status(deployment, plugin, monkeypatch):
    patient = tuple(text for text in sqlite._PRAGMAS if not text.startswith("busy_timeout"))
    monkeypatch.setattr(sqlite, "_PRAGMAS", (*patient, "busy_timeout=20"))
    async with deployment.running(email=["acme"]) as gateway:
        message = await deployment.email()
        await deployment.hears(message, "accepted")
        await gateway.settled()
        event = StatusEvent(status=Status.DELIVERED, message_id=message)
        plugin.translate = staticmethod(
            lambda _request: Report(events=[event], answer=WebhookAnswer(body=b"OK"))
        )
        other = sqlite3.connect(deployment.folder / "gatepost.db")
        other.execute("BEGIN IMMEDIATE")

        async def call():
            async with gateway.http.post(f"{gateway.url}/webhooks/acme") as response:
                return response.status, await response.read()

        assert await call() == (429, b"")
        other.rollback()
        other.close()
        assert await call() == (200, b"OK")
        await deployment.hears(message, "accepted", "delivered")


async def test_while_all_bodies_together_are_too_large_the_provider_repeats(deployment, plugin, monkeypatch):
    """Anyone can use up the limit: a provider that gives up after a 503 would lose its reports to them."""
    monkeypatch.setattr(handler, "MAX_BODIES", 500)
    async with deployment.running(email=["acme"]) as gateway:
        for name, status in {"acme": 429, "other": 503}.items():
            async with gateway.http.post(f"{gateway.url}/webhooks/{name}", data=b"x" * 900) as response:
                assert response.status == status


async def test_after_an_internal_error_the_provider_repeats(plugin, gateway, call, monkeypatch):
    monkeypatch.setattr(handler.Webhooks, "_record_events", None)
    assert (await call())[0] == 429


@pytest.mark.parametrize("status", [200, 400, 428, 499, 600, "503", 503.0, True, None])
async def test_another_retry_status_is_a_fault_at_the_start(deployment, plugin, status):
    plugin.retry_status = status
    with pytest.raises(ConfigError) as refused:
        load(deployment.write())
    (fault,) = refused.value.faults
    assert fault.key == "plugins.acme"
    assert "retry_status" in fault.problem


@pytest.mark.parametrize("status", [429, 500, 599])
async def test_a_retry_status_that_providers_repeat_after_is_no_fault(deployment, plugin, status):
    plugin.retry_status = status
    _, instances = load(deployment.write())
    assert instances["acme"].retry_status == status
