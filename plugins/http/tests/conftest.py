"""Fixtures: instances from tables, a server that records what it gets, messages, webhook requests."""

import asyncio
import time
import uuid
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
import structlog
from aiohttp import web

from gatepost.config.toml_table import Table
from gatepost.errors import ConfigError
from gatepost.hookspecs import Context
from gatepost.model import Email, Mailbox, Secret, Sms, WebhookRequest
from gatepost_http import Http

NUMBER = "+447700900123"
SMS = {
    "channel": "sms",
    "base_url": "http://127.0.0.1:1",
    "request": {"path": "/messages", "json": {"to": "{recipient}", "text": "{text}", "ref": "{id}"}},
}
EMAIL = {
    "channel": "email",
    "base_url": "http://127.0.0.1:1",
    "request": {
        "path": "/mails",
        "json": {"to": "{recipient}", "html": "{html}", "ref": "{id}", "headers": "{headers}"},
    },
}
WEBHOOK = {"status": "/status", "statuses": {"OK": "delivered", "NO": "failed", "SEEN": ""}, "id": "/ref"}
TOKEN = "the-token-of-reports"
TABLES = {
    "sms": SMS,
    "email": EMAIL,
    "reports": {**SMS, "webhook": WEBHOOK, "webhook_token": {"value": TOKEN, "header": "X-Token"}},
}


def merged(table, changes):
    """Return a table with changes; a table in it is merged, and None removes a key."""
    result = dict(table)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


@pytest.fixture
def build():
    """Return ``build(changes, table="sms", **context)``: an instance, as the core would build it; ``table``: one of TABLES, or its own."""

    def create(changes=None, *, table="sms", environment=None, **context):
        root = Table.root(
            merged(TABLES[table] if isinstance(table, str) else table, changes or {}),
            base=Path(),
            environment=environment or {},
        )
        settings = root.convert(Http.settings_type, "")
        if settings is None:
            raise ConfigError([fault._replace(key=fault.key.removeprefix(".")) for fault in root.faults])
        context = {"name": "acme", "webhook_url": "https://gate.example/webhooks/acme", **context}
        return Http(settings, Context(log=structlog.get_logger(), **context))

    return create


@pytest.fixture
def faults(build):
    """Return ``faults(changes)``: what is wrong with a table, by key."""

    def find(changes, **other):
        with pytest.raises(ConfigError) as caught:
            build(changes, **other)
        return {fault.key: fault.problem for fault in caught.value.faults}

    return find


@pytest.fixture
def warnings(build):
    """Return ``warnings(changes)``: what the operator is warned of, by key."""

    def find(changes, **other):
        found = {}
        build(changes, warn=found.setdefault, **other)
        return found

    return find


@pytest.fixture
async def server():
    """A server that records each request, and answers with ``server.status`` and ``server.answer``; None: not at all."""
    recorded = SimpleNamespace(requests=[], status=200, answer={"id": "p-1"}, headers={})

    async def answer(request):
        recorded.requests.append(
            SimpleNamespace(
                method=request.method,
                target=request.path_qs if not hasattr(request, "raw_path") else request.raw_path,
                headers=request.headers,
                body=await request.read(),
            )
        )
        if recorded.answer is None:
            request.transport.close()
        body = recorded.answer if isinstance(recorded.answer, bytes) else msgspec.json.encode(recorded.answer)
        return web.Response(status=recorded.status, body=body, headers=recorded.headers)

    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    recorded.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield recorded
    await runner.cleanup()


@pytest.fixture
def opened(build, server):
    """``async with opened(changes) as plugin``: an instance that sends to the server."""

    @asynccontextmanager
    async def instance(changes=None, **other):
        plugin = build(merged(changes or {}, {"base_url": server.base_url}), **other)
        async with plugin.lifespan():
            yield plugin

    return instance


@pytest.fixture
def sms():
    def create(**fields):
        known = {"id": str(uuid.uuid4()), "recipient": Secret(NUMBER), "sender": "Amazing", "text": "Hello"}
        return Sms(**{"lifetime": 14_400.0, "idempotency_key": str(uuid.uuid4()), **known, **fields})

    return create


@pytest.fixture
def email():
    def create(**fields):
        known = {
            "id": str(uuid.uuid4()),
            "recipient": Secret("anna@people.example"),
            "sender": Mailbox("news@amazing.example", "Amazing"),
            "subject": "Hello",
            "html": "<p>Hello</p>",
            "text": "Hello",
        }
        return Email(**{"lifetime": 86_400.0, "idempotency_key": str(uuid.uuid4()), **known, **fields})

    return create


@pytest.fixture
def report():
    """Return ``report(body, headers=…, query=…)``: a webhook request as the core hands it to the plugin."""

    def create(body=b"", *, headers=None, query="", method="POST", at=None):
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        lower = {name.lower(): value for name, value in (headers or {"X-Token": TOKEN}).items()}
        return WebhookRequest(
            method=method,
            url=f"https://gate.example/webhooks/acme{'?' if query else ''}{query}",
            headers=lower,
            header_list=tuple(lower.items()),
            body=raw,
            received_at=time.time() if at is None else at,
        )

    return create


@pytest.fixture
def parse():
    """Return ``parse(plugin, request)``: what the plugin reads, for tests that are not asynchronous."""
    return lambda plugin, request: asyncio.run(plugin.parse_webhook(request))
