"""Everything that the demo needs, in a temporary folder and on free ports."""

import asyncio
import csv
import json
import secrets
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple

from gatepost.demo.mailboxes import TEXT_REPORTS, Folder, Mailbox, Provider, report_like_the_sandbox
from gatepost.demo.scenes import PEOPLE
from gatepost.testing.process import GatewayProcess
from gatepost.testing.smartico import Smartico

ProviderName = Literal["sandbox", "sendgrid", "vonage"]

AUTHORIZATION = "demo-secret"

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
use = "csv"
path = "contacts.csv"

[plugins.sandbox]
use = "sandbox"
folder = "mailbox"
webhook_secret = "{webhook_secret}"
"""


class Stage(NamedTuple):
    """What is up while the demo runs."""

    folder: Path
    gateway: GatewayProcess
    smartico: Smartico
    mailboxes: list[Mailbox]
    routes: Mapping[str, str]
    """By channel, who sends."""


@asynccontextmanager
async def built(provider: ProviderName) -> AsyncIterator[Stage]:
    """Start it all; ends it and takes the folder away. Raises RuntimeError with the gateway's log."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="gatepost-demo-")))
        smartico = await stack.enter_async_context(
            Smartico(api_key=secrets.token_hex(8), authorization=AUTHORIZATION)
        )
        routes = {
            "email": "sendgrid" if provider == "sendgrid" else "sandbox",
            "sms": "vonage" if provider == "vonage" else "sandbox",
        }
        mailboxes: list[Mailbox] = [Folder(folder / "mailbox")]
        port = _free_port()
        extra = ""
        if provider != "sandbox":
            extra = await _emulate(provider, folder, stack, mailboxes, port)
        _write_contacts(folder / "contacts.csv")
        config = folder / "gatepost.toml"
        config.write_text(
            _CONFIG.format(
                port=port,
                authorization=AUTHORIZATION,
                api_key=smartico.api_key,
                callback_url=smartico.callback_url,
                webhook_secret=secrets.token_hex(16),
                **routes,
            )
            + extra
        )
        config.chmod(0o600)
        gateway = GatewayProcess(config)
        stack.push_async_callback(_end, gateway)
        smartico.gateway_url = await asyncio.to_thread(gateway.start)
        yield Stage(folder, gateway, smartico, mailboxes, routes)


async def _emulate(
    provider: ProviderName, folder: Path, stack: AsyncExitStack, mailboxes: list[Mailbox], port: int
) -> str:
    """Start the emulated provider; returns the plugin's table for the configuration."""
    webhook_url = f"http://127.0.0.1:{port}/webhooks/{provider}"
    if provider == "sendgrid":
        # They bring a provider's cryptography along, which the sandbox does without.
        from gatepost.testing.sendgrid import SendGridEmulator  # noqa: PLC0415

        sendgrid = await stack.enter_async_context(SendGridEmulator())
        sendgrid.webhook_url = webhook_url
        reporting = asyncio.create_task(report_like_the_sandbox(sendgrid))
        stack.push_async_callback(_cancel, reporting)
        mailboxes.append(Provider(sendgrid))
        own = {
            "api_key": sendgrid.api_key,
            "webhook_public_key": sendgrid.public_key,
            "base_url": sendgrid.base_url,
        }
    else:
        from gatepost.testing.vonage import VonageEmulator  # noqa: PLC0415

        vonage = await stack.enter_async_context(VonageEmulator())
        vonage.webhook_url = webhook_url
        vonage.automatic = TEXT_REPORTS
        mailboxes.append(Provider(vonage))
        (folder / "vonage.pem").write_text(vonage.private_key)
        own = {
            "application_id": vonage.application_id,
            "private_key": "file:vonage.pem",
            "signature_secret": vonage.signature_secret,
            "base_url": vonage.base_url,
        }
    # A JSON string is a TOML string.
    lines = [f"{key} = {json.dumps(value)}" for key, value in {"use": provider, **own}.items()]
    return "\n".join(["", f"[plugins.{provider}]", *lines, ""])


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})


async def _end(gateway: GatewayProcess) -> None:
    if gateway.running:
        with suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(gateway.terminate, 15.0)
            return
    gateway.kill()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _write_contacts(path: Path) -> None:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(PEOPLE[0].__struct_fields__)
        rows.writerows((person.ext_user_id, person.email, person.phone) for person in PEOPLE)
