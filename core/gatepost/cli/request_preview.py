"""``gatepost check --plugin NAME --try``: the request that a plugin would send for a sample message. Nothing is sent."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import rich_click as click

from gatepost import app
from gatepost.cli.common import fail, fault_line, printable
from gatepost.errors import SendError
from gatepost.model import Channel, Email, Mailbox, Secret, Sms
from gatepost.observe.leaves import secrets
from gatepost.plugin_host.instances import Instance

# Reserved by RFC 2606 and by Ofcom: they belong to nobody.
_ADDRESS = Secret("nobody@example.invalid")
_NUMBER = Secret("+447700900123")


def report(path: Path, name: str) -> int:
    """Print the request of the instance for each of its channels; returns the exit code."""
    _settings, instances, faults = app.examine(path)
    instance = instances.get(name)
    if instance is None:
        own = [fault for fault in faults if fault.key.startswith(f"plugins.{name}.")]
        for fault in own:
            click.echo(fault_line(path, fault), err=True)
        if own:
            return 1
        fail(f"{path} has no [plugins.{printable(name)}] that can be built; gatepost check says more")
    previews = [
        preview
        for channel in Channel
        if channel in instance.channels
        for preview in _preview(instance, channel)
    ]
    if not previews:
        fail(
            f"{name} ({instance.use}) can't show its requests: its plugin needs a preview_request "
            "(docs/reference/hooks.md)"
        )
    click.echo("\n\n".join(previews))
    return 0


def _preview(instance: Instance, channel: Channel) -> Iterator[str]:
    """Yield the request of one channel, without secrets and control characters, where the plugin can show it."""
    try:
        text = instance.preview_request(_sample(channel))
    except SendError as error:
        fail(f"{instance.name} would not send the sample message: {error.reason}")
    if text is None:
        return
    for secret in secrets(instance.settings.settings):
        if secret:
            text = text.replace(secret.reveal(), str(secret))
    yield "\n".join(printable(line) for line in text.splitlines())


def _sample(channel: Channel) -> Email | Sms:
    message_id = str(uuid.UUID(int=0))
    if channel is Channel.SMS:
        return Sms(
            id=message_id,
            recipient=_NUMBER,
            sender="Sample",
            text="A sample text",
            lifetime=3600.0,
            idempotency_key=message_id,
        )
    return Email(
        id=message_id,
        recipient=_ADDRESS,
        sender=Mailbox("news@example.com", "Sample"),
        subject="A sample subject",
        html="<p>A sample text</p>",
        text="A sample text",
        lifetime=3600.0,
        headers={"List-Unsubscribe": "<https://example.com/unsubscribe>"},
        idempotency_key=message_id,
    )
