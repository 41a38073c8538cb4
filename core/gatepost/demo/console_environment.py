"""What `gatepost demo --console` runs: a gateway of three brands with its console, a day of traffic, and more of it."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from gatepost.demo.brands import BRANDS
from gatepost.demo.environment import (
    CONTACT_SOURCE,
    DEFAULT_PROVIDER,
    cancel,
    start_gateway,
    write_config,
    write_contacts,
)
from gatepost.demo.live_traffic import send_traffic
from gatepost.demo.sample_day.day import write_sample_day
from gatepost.testing import emulators
from gatepost.testing.configuration import free_port, toml_table
from gatepost.testing.features import FailureMode
from gatepost.testing.process import GatewayProcess
from gatepost.testing.smartico import Smartico, answer

INSTANCES = ("mail-main", "mail-backup", "sms-main", "sms-value")

_BROKEN_INSTANCE = "sms-value"
"""Fails as long as the demo runs, so that the console has something to say about it."""

_FAILING_BRAND = "nordic"
"""The host that this brand wants called fails for a while."""

_FAILING_CALLS = 40

_ROUTES: Mapping[str, list[dict[str, Any]]] = {
    "email": [
        {"name": "amazing-mail", "clients": ["amazing"], "use": ["mail-main", "mail-backup"]},
        {"name": "nordic-mail", "clients": ["nordic"], "use": ["mail-main"]},
        {"name": "mail", "split": {"mail-main": 3, "mail-backup": 1}},
    ],
    "sms": [
        {"name": "germany", "countries": ["DE"], "use": ["sms-main", "sms-value"]},
        {"name": "texts", "split": {"sms-main": 2, "sms-value": 1}},
    ],
}


class ConsoleEnvironment(NamedTuple):
    """What runs while the demo of the console runs."""

    gateway: GatewayProcess
    url: str
    """Of the console."""
    password: str
    """Of both users of the console."""


@asynccontextmanager
async def run_console_environment(seed: int = 1) -> AsyncIterator[ConsoleEnvironment]:
    """Start everything; at the end stop it and remove the folder. With the same ``seed`` the sample day is the same.

    Raises RuntimeError with the gateway's log where the gateway does not start.
    """
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="gatepost-demo-")))
        smarticos = {brand.name: await _start_smartico(stack) for brand in BRANDS}
        providers = {
            name: await stack.enter_async_context(emulators.create(DEFAULT_PROVIDER)) for name in INSTANCES
        }
        for brand in BRANDS:
            write_contacts(folder / f"{brand.name}.{CONTACT_SOURCE}", brand.players())
        console_port = free_port()
        config = write_config(folder, "\n".join(_tables(smarticos, providers, console_port)))
        password = secrets.token_urlsafe(12)
        callback_urls = {name: one.callback_url for name, one in smarticos.items()}
        await write_sample_day(config, callback_urls, password, seed)
        gateway = GatewayProcess(config)
        url = await start_gateway(gateway, stack)
        for one in smarticos.values():
            one.gateway_url = url
        providers[_BROKEN_INSTANCE].simulate(FailureMode.OUTAGE)
        smarticos[_FAILING_BRAND].fail(answer(503), calls=_FAILING_CALLS)
        sending = asyncio.create_task(send_traffic(smarticos, random.Random(seed)))  # noqa: S311  no secret
        stack.push_async_callback(cancel, sending)
        yield ConsoleEnvironment(gateway, f"http://127.0.0.1:{console_port}", password)


async def _start_smartico(stack: AsyncExitStack) -> Smartico:
    smartico = Smartico(api_key=secrets.token_hex(8), authorization=secrets.token_hex(8))
    return await stack.enter_async_context(smartico)


def _tables(smarticos: Mapping[str, Smartico], providers: Mapping[str, Any], console_port: int) -> list[str]:
    """Return the tables of the configuration."""
    port = free_port()
    tables: dict[str, Mapping[str, Any]] = {
        "server": {"port": port, "public_url": f"http://127.0.0.1:{port}"},
        "console": {"listen": f"127.0.0.1:{console_port}"},
        "delivery": {"uncertain": "hold", "sms_lifetime": 7200, "suppress": ["complained", "unsubscribed"]},
        "routes": _ROUTES,
    }
    for name, smartico in smarticos.items():
        tables[f"clients.{name}"] = {
            "authorization": [smartico.authorization],
            "allow_ips": ["127.0.0.1"],
            "callback_api_key": smartico.api_key,
            "callback_hosts": ["127.0.0.1"],
            "callback_url": smartico.callback_url,
            "allow_private_callbacks": True,
            "contacts": [f"{name}-players"],
            "per_user_per_day": 40,
        }
        tables[f"plugins.{name}-players"] = {"use": CONTACT_SOURCE, "path": f"{name}.{CONTACT_SOURCE}"}
    for name, provider in providers.items():
        tables[f"plugins.{name}"] = {"use": DEFAULT_PROVIDER, **provider.table}
    return [toml_table(name, values) for name, values in tables.items()]
