"""Fixtures for the tests of a plugin, which pytest finds by itself wherever Gatepost is installed.

A test's own fixtures of the same names replace them. From a conftest they need two things: ``provider``, the running
emulator, and ``plugin_type``, the plugin's class::

    @pytest.fixture
    async def provider():
        async with AcmeEmulator() as emulator:
            yield emulator


    @pytest.fixture
    def plugin_type():
        return AcmeSms

``table`` is the emulator's own, and may be replaced too. Then a test reads::

    async def test_a_report_is_read(plugin, provider, sms, reported):
        await plugin.send_sms(sms())
        report = await reported(provider.event("delivered", provider.taken[0]))
"""

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gatepost.config.settings import CORE_KEYS
from gatepost.config.toml_table import Table
from gatepost.errors import ConfigError, Fault
from gatepost.model import Email, Mailbox, Report, Secret, Sms, WebhookRequest
from gatepost.testing.fakes import FakeCore
from gatepost.testing.webhook_requests import WEBHOOK_URL, replace_request, webhook_request

MESSAGE_ID = "0b9f4d3c-8a52-4c1e-9d47-1f2e3a4b5c6d"
"""The id of the messages of ``email`` and ``sms``."""
EMAIL_RECIPIENT = "canary.4711@mail.example"
SMS_RECIPIENT = "+447700900123"
LOOKUP_TIMEOUT = 60.0
"""The ``lookup_timeout`` of an instance, in seconds: far more than that of a gateway, for a busy machine."""


@pytest.fixture
async def provider(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Yield the running emulator of a conformance suite; None where the suite has none."""
    emulator = getattr(request.cls, "emulator", None)
    if emulator is None:
        yield None
        return
    async with emulator() as running:
        yield running


@pytest.fixture
def table(provider: Any) -> Mapping[str, Any]:
    """Return the plugin's own keys of its ``[plugins.NAME]`` table, which lead to the emulated provider."""
    own: Mapping[str, Any] = provider.table
    return own


@pytest.fixture
def core() -> FakeCore:
    """Return the core's side of the Context: reports, state, leases, warnings and the log of the instances."""
    return FakeCore()


@pytest.fixture
def make_plugin(
    plugin_type: Any, table: Mapping[str, Any], core: FakeCore, tmp_path: Path
) -> Callable[..., Any]:
    """Return a function that creates an instance with the settings of ``table``.

    Its keywords replace keys of the table, as TOML would have them, and ``context`` is a mapping of fields of the
    Context. Raises ConfigError as the core does.
    """

    def create(*, context: Mapping[str, Any] | None = None, **keys: Any) -> Any:
        merged = {key: value for key, value in {**table, **keys}.items() if value is not None}
        source = Table.root(merged, base=tmp_path, environment=os.environ).split(CORE_KEYS)[1]
        settings = source.convert(plugin_type.settings_type, "")
        if settings is None:
            raise ConfigError(Fault(key.removeprefix("."), problem) for key, problem in source.faults)
        ordinary = {"folder": tmp_path, "lookup_timeout": LOOKUP_TIMEOUT}
        return plugin_type(settings, core.context(**{**ordinary, **(context or {})}))

    return create


@pytest.fixture
def running(make_plugin: Callable[..., Any]) -> Callable[..., AbstractAsyncContextManager[Any]]:
    """Return a function that creates an instance as ``make_plugin`` does, and runs it while a block runs."""

    @asynccontextmanager
    async def run(**options: Any) -> AsyncIterator[Any]:
        plugin = make_plugin(**options)
        async with plugin.lifespan():
            yield plugin

    return run


@pytest.fixture
async def plugin(running: Callable[..., AbstractAsyncContextManager[Any]]) -> AsyncIterator[Any]:
    """Yield an instance inside its lifespan."""
    async with running() as instance:
        yield instance


@pytest.fixture
def email() -> Callable[..., Email]:
    """Return a function that creates an email; its keywords replace the fields of an ordinary one."""

    def create(**fields: Any) -> Email:
        defaults = {
            "id": MESSAGE_ID,
            "recipient": Secret(EMAIL_RECIPIENT),
            "sender": Mailbox("news@brand.example", "Brand"),
            "subject": "Grüße 🎲",
            "html": "<p>Hello</p>",
            "text": "Hello",
            "lifetime": 3600.0,
        }
        return Email(**{**defaults, **fields})

    return create


@pytest.fixture
def sms() -> Callable[..., Sms]:
    """Return a function that creates a text message; its keywords replace the fields of an ordinary one."""

    def create(text: str = "Hello", **fields: Any) -> Sms:
        defaults = {
            "id": MESSAGE_ID,
            "recipient": Secret(SMS_RECIPIENT),
            "sender": "Amazing",
            "lifetime": 3600.0,
        }
        return Sms(**{**defaults, "text": text, **fields})

    return create


@pytest.fixture
def signed(provider: Any) -> Callable[..., WebhookRequest]:
    """Return a function that creates a webhook request, which the emulated provider has signed.

    It takes the body (bytes, or what is encoded as JSON) and the keywords of ``webhook_request``. ``forged``: signed
    with another key; ``age``: the seconds that the signature is old.
    """

    def create(
        body: object, *, url: str = WEBHOOK_URL, age: float = 0.0, forged: bool = False, **how: Any
    ) -> WebhookRequest:
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        request = webhook_request(url, raw, **how)
        earlier = replace_request(request, received_at=request.received_at - age)
        signed: WebhookRequest = provider.sign(earlier, forged=forged)
        return replace_request(signed, received_at=request.received_at)

    return create


@pytest.fixture
def reported(provider: Any, plugin: Any, signed: Callable[..., WebhookRequest]) -> Callable[..., Any]:
    """Return a coroutine function that lets ``plugin`` read a genuine report of these events."""

    async def report(*events: Any, **how: Any) -> Report:
        (body,) = provider.bodies(events, batch=0)
        found: Report = await plugin.parse_webhook(signed(body, **how))
        return found

    return report
