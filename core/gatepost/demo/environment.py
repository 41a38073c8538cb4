"""What the demo runs: a gateway with its files in a temporary folder, a stand-in for Smartico, providers."""

import asyncio
import csv
import secrets
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from gatepost.demo import providers
from gatepost.demo.requests import USERS, User, statuses_of
from gatepost.model import Channel
from gatepost.testing import emulators
from gatepost.testing.configuration import free_port, toml_table
from gatepost.testing.demo_provider import DemoProvider
from gatepost.testing.process import GatewayProcess
from gatepost.testing.smartico import Smartico

# The demo needs these two plugins; all else about a provider is in its own package.
CONTACT_SOURCE = "csv"
DEFAULT_PROVIDER = "sandbox"

AUTHORIZATION = "demo-secret"

_STOP_TIMEOUT = 15.0
"""Seconds in which the gateway has to stop before it is killed."""

_CONFIG = """\
[server]
port = {port}
public_url = "http://127.0.0.1:{port}"

[clients.smartico]
authorization = ["{authorization}"]
allow_ips = ["127.0.0.1"]
callback_api_key = "{api_key}"
callback_hosts = ["127.0.0.1"]
callback_url = "{callback_url}"
allow_private_callbacks = true

[contacts]
sources = ["players"]
default_region = "GB"

[routes]
email = ["{email}"]
sms = ["{sms}"]

[plugins.players]
use = "{source}"
path = "contacts.csv"
"""


class DemoEnvironment(NamedTuple):
    """What runs while the demo runs."""

    folder: Path
    gateway: GatewayProcess
    smartico: Smartico
    providers: list[DemoProvider]
    routes: Mapping[Channel, str]
    """The plugin instance that sends on each channel."""


@asynccontextmanager
async def run_environment(provider: str) -> AsyncIterator[DemoEnvironment]:
    """Start everything; at the end stop it and remove the folder.

    Raises RuntimeError where the provider is not one for the demo and, with the gateway's log, where the gateway does
    not start; ConfigError where the provider's plugin can't be used.
    """
    sends = providers.channels(provider)
    if not sends:
        raise RuntimeError(f"{provider} sends no messages: name a plugin that sends email or text messages")
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="gatepost-demo-")))
        smartico = await stack.enter_async_context(
            Smartico(api_key=secrets.token_hex(8), authorization=AUTHORIZATION)
        )
        routes = {channel: provider if channel in sends else DEFAULT_PROVIDER for channel in Channel}
        running = {use: await _start_provider(use, stack) for use in sorted(set(routes.values()))}
        port = free_port()
        config = _CONFIG.format(
            port=port,
            authorization=AUTHORIZATION,
            api_key=smartico.api_key,
            callback_url=smartico.callback_url,
            source=CONTACT_SOURCE,
            **routes,
        )
        for use, started in running.items():
            started.webhook_url = f"http://127.0.0.1:{port}/webhooks/{use}"
            config += "\n" + toml_table(f"plugins.{use}", {"use": use, **started.table})
        write_contacts(folder / "contacts.csv", USERS)
        gateway = GatewayProcess(write_config(folder, config))
        smartico.gateway_url = await start_gateway(gateway, stack)
        yield DemoEnvironment(folder, gateway, smartico, list(running.values()), routes)


async def _start_provider(use: str, stack: AsyncExitStack) -> DemoProvider:
    """Start the provider of a plugin, which takes and reports messages until the stack ends."""
    emulator = emulators.create(use)
    if not hasattr(emulator, "arrivals"):
        raise RuntimeError(
            f"the emulator of {use} is for `gatepost conformance` only; the demo needs one with the methods of "
            "DemoProvider (docs/reference/emulator.md)"
        )
    provider: DemoProvider = await stack.enter_async_context(emulator)
    reporting = asyncio.create_task(providers.report_statuses(provider, statuses_of))
    stack.push_async_callback(cancel, reporting)
    return provider


async def cancel(task: asyncio.Task[None]) -> None:
    """Cancel a task, and wait for its end."""
    task.cancel()
    await asyncio.wait({task})


def write_contacts(path: Path, users: Sequence[User]) -> None:
    """Write the file of the contact source."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(User.__struct_fields__)
        rows.writerows((user.ext_user_id, user.email, user.phone) for user in users)


def write_config(folder: Path, config: str) -> Path:
    """Write the configuration file, which holds secrets; return its path."""
    file = folder / "gatepost.toml"
    file.write_text(config)
    file.chmod(0o600)
    return file


async def start_gateway(gateway: GatewayProcess, stack: AsyncExitStack) -> str:
    """Start a gateway, which is stopped when the stack ends; return its URL."""
    stack.push_async_callback(_stop, gateway)
    return await asyncio.to_thread(gateway.start)


async def _stop(gateway: GatewayProcess) -> None:
    if gateway.running:
        with suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(gateway.terminate, _STOP_TIMEOUT)
            return
    gateway.kill()
