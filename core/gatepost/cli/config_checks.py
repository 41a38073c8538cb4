"""What `gatepost check` finds in a configuration. No message to a user is sent, and nothing is stored."""

import asyncio
import os
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from gatepost import app
from gatepost.cli.alert_checks import check_alerts
from gatepost.cli.content_key_checks import check_content_keys
from gatepost.cli.file_permissions import readable_by_all
from gatepost.cli.findings import Finding, faulty_tables, in_order
from gatepost.cli.mail_checks import check_mail
from gatepost.cli.plugin_checks import check_instance
from gatepost.config.client import Client
from gatepost.config.networks import parse_address
from gatepost.config.routes import Route
from gatepost.config.settings import Settings
from gatepost.errors import ConfigError
from gatepost.model import Channel
from gatepost.observe.tracing_switch import read_switch
from gatepost.outbox.inspection import inspect_store
from gatepost.plugin_host.instances import Instance
from gatepost.routing.reachability import takes_everything
from gatepost.web.admin.words import plural


async def check_config(path: Path, *, live: bool) -> list[Finding]:
    """Check the whole configuration; returns the findings in the usual order of the file."""
    settings, instances, faults = app.examine(path)
    findings = [Finding("fault", fault.key, fault.problem) for fault in faults]
    if settings is None:
        return findings
    faulty = faulty_tables(findings)
    opened = await asyncio.gather(
        *(check_instance(settings, instance, live=live) for instance in instances.values())
    )
    findings += [
        *_server(settings),
        *_clients(settings),
        *_contacts(settings, faulty),
        *_routes(settings, instances),
        *_tracing(os.environ),
    ]
    warnings = [
        *readable_by_all(settings),
        *(one for each in instances.values() for one in each.services.warnings),
    ]
    findings += [Finding("warning", key, problem) for key, problem in warnings]
    # A value with a fault is replaced by its default in the settings, and the operator does not mean the default.
    findings += [] if "store" in faulty else [one async for one in _store(settings)]
    findings += await check_alerts(settings, faulty, live=live)
    findings += [finding for some in opened for finding in some]
    if live:
        findings += check_mail(settings, instances)
    findings += _unused_instances(settings, instances, faulty)
    return in_order(findings, settings)


def _server(settings: Settings) -> Iterator[Finding]:
    server = settings.server
    tls = server.certificate and server.key
    yield Finding("good", "server", f"{server.host} port {server.port}{', with TLS' if tls else ''}")
    if not tls and _is_loopback(server.host) and not server.trusted_proxies:
        yield Finding(
            "warning",
            "server.trusted_proxies",
            f"is empty, and {server.host} accepts connections of this machine only: if they come from a proxy, "
            "every client address looks local. Then name the proxy's address here",
        )


def _tracing(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what the standard variables of OpenTelemetry ask for."""
    on, problem = read_switch(environment)
    if on:
        yield Finding("good", "environment", "traces of messages go to a collector of OpenTelemetry")
    elif problem:
        yield Finding("warning", "environment", f"there will be no traces: {problem}")


def _is_loopback(host: str) -> bool:
    address = parse_address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


async def _store(settings: Settings) -> AsyncIterator[Finding]:
    try:
        found = await inspect_store(settings.store.url, settings.path.parent)
    except ConfigError as error:
        yield Finding("fault", error.faults[0].key, error.faults[0].problem)
        return
    at_start = {
        "missing": " (will be created at the first start)",
        "older": " (its tables will be upgraded at the next start)",
        "current": "",
        "newer": " (upgraded by a newer Gatepost; this version can use it)",
    }
    in_use = ", in use by a running gateway" if found.in_use else ""
    yield Finding("good", "store", f"{found.store}{in_use}{at_start[found.tables]}")
    for one in check_content_keys(settings.store, found.contents_by_key):
        yield one


def _clients(settings: Settings) -> Iterator[Finding]:
    for name, client in settings.clients.items():
        key = f"clients.{name}"
        callbacks = "gets callbacks" if client.callback_hosts else "gets no callbacks"
        networks = ", ".join(map(repr, client.allow_ips)) or "nowhere"
        yield Finding("good", key, f"requests from {networks}; {callbacks}")
        if not client.allow_ips:
            yield Finding("warning", f"{key}.allow_ips", "is empty: every request is refused with code 4")
        if not client.callback_hosts:
            yield Finding(
                "warning",
                f"{key}.callback_hosts",
                "is empty: every request with a callback_url is refused with code 7",
            )
        elif not client.callback_api_key:
            yield Finding(
                "warning", f"{key}.callback_api_key", "is not set: callbacks are sent with an empty key"
            )
        yield from _senders(settings, key, client)
        if client.allow_private_callbacks:
            yield Finding(
                "warning",
                f"{key}.allow_private_callbacks",
                "is for tests: callbacks may go to addresses of your own network, and unencrypted",
            )


def _senders(settings: Settings, key: str, client: Client) -> Iterator[Finding]:
    for channel, senders, what in (
        (Channel.EMAIL, client.email_senders, "from any address"),
        (Channel.SMS, client.sms_senders, "under any sender id"),
    ):
        if settings.routes.instances(channel) and not senders:
            yield Finding(
                "warning",
                f"{key}.{channel}_senders",
                f"is empty: this client may send {what}; list those that it may use",
            )


def _contacts(settings: Settings, faulty: Collection[str]) -> Iterator[Finding]:
    """Yield a finding for each client: its contact sources, or that it has none."""
    for name in settings.clients:
        sources = settings.contact_sources(name)
        if f"clients.{name}" in faulty:
            continue
        if sources:
            yield Finding("good", "contacts", f"users of {name} come from {', then '.join(sources)}")
        else:
            yield Finding(
                "warning",
                "contacts.sources",
                f"is empty: every message of clients.{name} is refused with code 1 (the user is unknown)",
            )


def _routes(settings: Settings, instances: Mapping[str, Instance]) -> Iterator[Finding]:
    texts = [f"{channel}: {_channel(settings.routes.of(channel))}" for channel in Channel]
    yield Finding("good", "routes", "; ".join(texts))
    if not any(settings.routes.instances(channel) for channel in Channel):
        yield Finding("warning", "routes", "no plugin sends: every message is refused with code 8")
    for channel in Channel:
        for name in settings.routes.instances(channel):
            if name in instances and not instances[name].delivers:
                yield Finding(
                    "warning",
                    f"routes.{channel}",
                    f"{name} delivers nothing: its messages reach no recipient",
                )
        routes = settings.routes.of(channel)
        yield from _unreported(settings, channel, instances)
        if routes and not takes_everything(routes, channel, settings.clients):
            yield Finding(
                "warning",
                settings.routes.key(channel, len(routes) - 1),
                "is the last rule and has conditions: a message that fits no rule is refused with code 8. If that "
                "is not meant, add a rule without conditions",
            )


def _unreported(settings: Settings, channel: Channel, instances: Mapping[str, Instance]) -> Iterator[Finding]:
    """Warn of plugins that are followed by another one unless they report a delivery, which they never do."""
    for position, route in enumerate(settings.routes.of(channel)):
        for name in route.use[:-1] if route.next_after else ():
            instance = instances.get(name)
            if instance and not (instance.takes_webhooks or instance.reports_itself):
                yield Finding(
                    "warning",
                    settings.routes.key(channel, position, "next_after"),
                    f"{name} never reports a delivery, so each message that it took is sent again by the next plugin",
                )


def _channel(routes: Sequence[Route]) -> str:
    """Return the plugins of a channel's only rule, or the names of its rules."""
    if not routes:
        return "no plugin"
    if len(routes) == 1 and routes[0].use:
        return ", then ".join(routes[0].use)
    return f"{plural(len(routes), 'rule')} ({', '.join(route.name for route in routes)})"


def _unused_instances(
    settings: Settings, instances: Mapping[str, Instance], faulty: Collection[str]
) -> Iterator[Finding]:
    if any(table.partition(".")[0] in {"routes", "contacts", "clients"} for table in faulty):
        return
    used = {
        *(name for channel in Channel for name in settings.routes.instances(channel)),
        *(source for name in settings.clients for source in settings.contact_sources(name)),
    }
    for name in instances.keys() - used:
        yield Finding(
            "warning", f"plugins.{name}", "is not used: it is on no route and no client's contact source"
        )
