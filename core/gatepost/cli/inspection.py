"""What `gatepost check` looks at, and what it thinks of it. Nothing here is sent or stored."""

import asyncio
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Literal, NamedTuple

from gatepost import app
from gatepost.cli import exposure
from gatepost.config.networks import parse_address
from gatepost.config.settings import Client, Settings
from gatepost.config.toml_table import nearest
from gatepost.errors import ConfigError, NoVerificationKey, Unavailable, WebhookError
from gatepost.model import Channel, WebhookRequest
from gatepost.outbox.inspection import inspect_store
from gatepost.plugin_host.instances import Instance

Grade = Literal["good", "warning", "fault"]

_SECTIONS = ("", "server", "store", "clients", "contacts", "delivery", "routes", "logs", "plugins")


class Line(NamedTuple):
    """One thing that was looked at."""

    grade: Grade
    where: str
    """The path of a key or of a table; empty for the file as a whole."""
    text: str


async def inspect(path: Path, *, live: bool) -> list[Line]:
    """Everything that can be said of a configuration, in the file's usual order."""
    settings, instances, faults = app.examine(path)
    lines = [Line("fault", fault.key, fault.problem) for fault in faults]
    if settings is None:
        return lines
    faulty = _at_fault(lines)
    opened = await asyncio.gather(*(_instance(settings, one, live=live) for one in instances.values()))
    lines += [
        *_server(settings),
        *_clients(settings),
        *_contacts(settings, faulty),
        *_routes(settings, instances),
    ]
    lines += [Line("warning", where, problem) for where, problem in exposure.exposed(settings)]
    # What stands in the place of a value at fault is the default, and not what the operator means.
    lines += [] if "store" in faulty else [await _store(settings)]
    lines += [line for some in opened for line in some]
    lines += _idle(settings, instances, faulty)
    return _in_order(lines, settings)


def _in_order(lines: Sequence[Line], settings: Settings) -> list[Line]:
    """By table; of one that has a fault nothing else is said, for it may be a consequence."""
    names = [
        *(f"clients.{name}" for name in settings.clients),
        *(f"plugins.{name}" for name in settings.plugins),
    ]
    faulty = _at_fault(lines)
    kept = [line for line in dict.fromkeys(lines) if line.grade == "fault" or _table(line) not in faulty]
    grades = ("good", "fault", "warning")

    def place(line: Line) -> tuple[int, int, int]:
        table = _table(line)
        section = table.partition(".")[0]
        return (
            _SECTIONS.index(section) if section in _SECTIONS else len(_SECTIONS),
            names.index(table) if table in names else len(names),
            grades.index(line.grade),
        )

    return sorted(kept, key=place)


def _at_fault(lines: Sequence[Line]) -> Collection[str]:
    """The tables that have a fault, and those that are probably meant by one that nobody knows."""
    tables = {_table(line) for line in lines if line.grade == "fault"}
    return tables | {nearest(table, _SECTIONS) for table in tables if table and "." not in table} - {""}


def _table(line: Line) -> str:
    words = line.where.split(".")
    return ".".join(words[: 2 if words[0] in {"clients", "plugins"} else 1])


def _server(settings: Settings) -> Iterator[Line]:
    server = settings.server
    tls = server.certificate and server.key
    yield Line("good", "server", f"{server.host} port {server.port}{', with TLS' if tls else ''}")
    if not tls and _is_loopback(server.host) and not server.trusted_proxies:
        yield Line(
            "warning",
            "server.trusted_proxies",
            f"is empty, and {server.host} hears this machine only: if a proxy on it hands requests over, every "
            "caller looks local; name its address here",
        )


def _is_loopback(host: str) -> bool:
    address = parse_address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


async def _store(settings: Settings) -> Line:
    try:
        found = await inspect_store(settings.store.url, settings.path.parent)
    except ConfigError as error:
        return Line("fault", error.faults[0].key, error.faults[0].problem)
    at_start = {
        "missing": " (will be made at the first start)",
        "older": " (its tables will be upgraded at the next start)",
        "current": "",
    }
    in_use = ", in use by a running gateway" if found.in_use else ""
    return Line("good", "store", f"{found.store}{in_use}{at_start[found.tables]}")


def _clients(settings: Settings) -> Iterator[Line]:
    for name, client in settings.clients.items():
        where = f"clients.{name}"
        calls = "tells statuses" if client.callback_hosts else "tells no statuses"
        yield Line("good", where, f"from {', '.join(map(repr, client.allow_ips)) or 'nowhere'}; {calls}")
        if not client.allow_ips:
            yield Line("warning", f"{where}.allow_ips", "is empty: every request is refused with code 4")
        if not client.callback_hosts:
            yield Line(
                "warning",
                f"{where}.callback_hosts",
                "is empty: every request that brings a callback_url is refused with code 7",
            )
        elif not client.callback_api_key:
            yield Line(
                "warning", f"{where}.callback_api_key", "is not set: callbacks go out with an empty one"
            )
        yield from _senders(settings, where, client)
        if client.allow_private_callbacks:
            yield Line(
                "warning",
                f"{where}.allow_private_callbacks",
                "is for tests: callbacks may go to addresses of your own network, and unencrypted",
            )


def _senders(settings: Settings, where: str, client: Client) -> Iterator[Line]:
    for channel, senders, what in (
        (Channel.EMAIL, client.email_senders, "from any address"),
        (Channel.SMS, client.sms_senders, "under any sender id"),
    ):
        if settings.routes.of(channel) and not senders:
            yield Line(
                "warning",
                f"{where}.{channel}_senders",
                f"is empty: this client may send {what}; list its own",
            )


def _contacts(settings: Settings, faulty: Collection[str]) -> Iterator[Line]:
    """Which client asks which sources."""
    for name in settings.clients:
        sources = settings.sources(name)
        if f"clients.{name}" in faulty:
            continue
        if sources:
            yield Line("good", "contacts", f"{name} asks {', then '.join(sources)}")
        else:
            yield Line(
                "warning",
                "contacts.sources",
                f"is empty: every user of clients.{name} is unknown, refused with code 1",
            )


def _routes(settings: Settings, instances: Mapping[str, Instance]) -> Iterator[Line]:
    routes = {channel: settings.routes.of(channel) for channel in Channel}
    said = [f"{channel}: {', then '.join(names) or 'nobody'}" for channel, names in routes.items()]
    yield Line("good", "routes", "; ".join(said))
    if not any(routes.values()):
        yield Line("warning", "routes", "nobody sends anything: every message is refused with code 8")
    for channel, names in routes.items():
        for name in names:
            if name in instances and not instances[name].delivers:
                yield Line(
                    "warning",
                    f"routes.{channel}",
                    f"{name} delivers nothing: its messages reach no recipient",
                )


async def _instance(settings: Settings, instance: Instance, *, live: bool) -> list[Line]:
    """Open one plugin as the gateway would, and ask it what can be asked."""
    where = f"plugins.{instance.name}"
    opened = instance.living() if "lifespan" in instance.can else nullcontext()
    try:
        async with opened:
            lines = [await _ping(instance, where)] if live and "ping" in instance.can else []
            if not any(line.grade == "fault" for line in lines):
                said = [instance.use, "opened", *(line.text for line in lines)]
                lines = [Line("good", where, ", ".join(said))]
            return [*lines, *await _reports(settings, instance, where)]
    except ConfigError as error:
        return [Line("fault", fault.key, fault.problem) for fault in error.faults]


async def _ping(instance: Instance, where: str) -> Line:
    try:
        await instance.ping()
    except Unavailable as error:
        code = f" [{error.code}]" if error.code else ""
        return Line("fault", where, f"{instance.use}: {error.reason}{code}")
    return Line("good", where, "ready to send")


async def _reports(settings: Settings, instance: Instance, where: str) -> list[Line]:
    """Whether a sending instance hears what became of its messages."""
    if not any(instance.name in settings.routes.of(channel) for channel in Channel):
        return []
    deaf = "Smartico hears of no delivery and no bounce"
    if not instance.takes_webhooks:
        return [Line("warning", where, f"{instance.use} takes no reports: {deaf}")]
    # Nobody's request, which no plugin takes: only whether it could verify one is of interest.
    request = WebhookRequest(method="POST", url="", headers={}, body=b"", received_at=time.time())
    try:
        await instance.parse_webhook(request)
    except NoVerificationKey:
        return [Line("warning", where, f"no key to verify reports with, so it takes none: {deaf}")]
    except WebhookError:
        pass
    if settings.server.public_url:
        return []
    return [
        Line(
            "warning",
            "server.public_url",
            f"is not set: {instance.name} can't tell its provider where to report; what reports come by is then "
            "for you to set up at the provider",
        )
    ]


def _idle(settings: Settings, instances: Mapping[str, Instance], faulty: Collection[str]) -> Iterator[Line]:
    if any(table.partition(".")[0] in {"routes", "contacts", "clients"} for table in faulty):
        return
    used = {
        *settings.routes.email,
        *settings.routes.sms,
        *(one for name in settings.clients for one in settings.sources(name)),
    }
    for name in instances.keys() - used:
        yield Line(
            "warning", f"plugins.{name}", "is on no route and no client's contact source: nobody asks it"
        )
