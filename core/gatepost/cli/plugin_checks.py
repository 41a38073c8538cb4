"""What `gatepost check` finds out about a plugin by opening it."""

import time

from gatepost.cli.findings import Finding
from gatepost.config.settings import Settings
from gatepost.errors import ConfigError, NoVerificationKey, Unavailable, WebhookError
from gatepost.hookspecs import SEND_HOOKS
from gatepost.model import Channel, WebhookRequest
from gatepost.plugin_host.instances import Instance

_NO_REPORTS = "Smartico gets no deliveries and no bounces"


async def check_instance(settings: Settings, instance: Instance, *, live: bool) -> list[Finding]:
    """Open a plugin as the gateway would; with ``live`` also ask its provider whether a send would succeed."""
    key = f"plugins.{instance.name}"
    try:
        async with instance.lifespan():
            findings = [await _ping(instance, key)] if live and "ping" in instance.hooks else []
            if not any(finding.grade == "fault" for finding in findings):
                texts = [instance.use, "opened", *(finding.text for finding in findings)]
                findings = [Finding("good", key, ", ".join(texts))]
                findings += [Finding("good", key, text) for text in instance.services.confirmations]
                findings += [Finding("note", key, text) for text in instance.services.advice]
            return [*findings, *await _reports(settings, instance, key, live=live)]
    except ConfigError as error:
        return [Finding("fault", fault.key, fault.problem) for fault in error.faults]


async def _ping(instance: Instance, key: str) -> Finding:
    try:
        await instance.ping()
    except Unavailable as error:
        code = f" [{error.code}]" if error.code else ""
        return Finding("fault", key, f"{instance.use}: {error.reason}{code}")
    is_sender = not instance.hooks.isdisjoint(SEND_HOOKS.values())
    return Finding("good", key, "ready to send" if is_sender else "answers")


async def _reports(settings: Settings, instance: Instance, key: str, *, live: bool) -> list[Finding]:
    """Check whether a sending plugin takes its provider's reports about messages."""
    if not any(instance.name in settings.routes.instances(channel) for channel in Channel):
        return []
    if not instance.takes_webhooks:
        if instance.reports_itself:
            return []
        return [Finding("warning", key, f"{instance.use} takes no reports: {_NO_REPORTS}")]
    # An empty request, which every plugin refuses. The only question is whether it has a key to verify one with.
    request = WebhookRequest(
        method="POST",
        url="",
        headers={},
        body=b"",
        received_at=time.time(),
        network_listed=bool(instance.settings.webhook_networks),
    )
    try:
        await instance.parse_webhook(request)
    except NoVerificationKey:
        return [
            Finding("warning", key, f"has no key to verify reports with, so it takes none: {_NO_REPORTS}")
        ]
    except WebhookError:
        pass
    if url := settings.server.public_url.rstrip("/"):
        text = f"reports: taken at {url}/webhooks/{instance.name}"
        return [Finding("good", key, text)] if live else []
    problem = f"is not set: {instance.name} can't tell its provider where to send reports. Set the URL there yourself"
    return [] if instance.reports_itself else [Finding("warning", "server.public_url", problem)]
