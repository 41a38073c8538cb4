"""The private copy of an operator's configuration: the same rules, and nothing in it leads out of this machine."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gatepost.config.client import Client
from gatepost.config.routes import Route
from gatepost.config.settings import InstanceSettings, Settings
from gatepost.model import Channel
from gatepost.prove import stand_in
from gatepost.prove.surroundings import Surroundings
from gatepost.testing.configuration import toml_table

OWN_CLIENT = "gatepost-prove"
"""The client that reaches each plugin directly, and whose limits are low."""
OWN_SOURCE = "gatepost-prove-contacts"
OWN_DOMAIN = "gatepost-prove.example"
REFUSING_SENDER = "Refused"
CONSOLE_USER, CONSOLE_USER_HEADER = "prove", "X-Prove-User"
MAX_PARTS, PER_USER = 2, 3
"""The limits of the own client."""

_ENOUGH = 10_000
"""A limit from which on the run can't reach it."""
_UNCERTAIN_WAIT, _NEXT_AFTER, _TIMEOUT = 0.5, 0.5, 2.0
"""Seconds; with the operator's own the run would take hours."""

_LIMITS = ("max_queued", "email_per_day", "sms_per_day", "per_user_per_day")


def client_address(position: int) -> str:
    """Return the address from which the client at this position sends: one of those reserved for documentation."""
    return f"2001:db8::{position + 1:x}"


def sender_of(channel: Channel, position: int | str) -> str:
    """Return the sender by which the own client reaches a plugin, or with REFUSING_SENDER a refusal."""
    return f"prove{position}@{OWN_DOMAIN}".lower() if channel is Channel.EMAIL else f"Prove{position}"


class PrivateCopy:
    """The tables of the copy; ``changes`` says in words what differs from the original."""

    def __init__(self, settings: Settings, surroundings: Surroundings) -> None:
        self._settings = settings
        self._surroundings = surroundings
        self.changes: list[str] = [
            "every secret is replaced by one that was made for this run",
            "contact sources: one source of canaries instead",
            "callbacks: to a stand-in for Smartico on this machine",
            "store: a new and empty one, not encrypted, so that it can be searched",
            f"a client more, {OWN_CLIENT}, with rules of its own, that reaches each sending plugin directly",
            "log: level debug, format json",
            "console: switched on for one user, on the loopback",
        ]

    def write(self, folder: Path) -> Path:
        """Write the copy into a folder; return its path."""
        tables = dict(self._tables())
        file = folder / "gatepost.toml"
        file.touch(0o600)
        file.write_text("\n".join(toml_table(name, values) for name, values in tables.items()))
        return file

    def _tables(self) -> Iterator[tuple[str, dict[str, Any]]]:
        settings, around = self._settings, self._surroundings
        yield (
            "server",
            {
                "port": around.port,
                "max_body": settings.server.max_body,
                "trusted_proxies": ["127.0.0.1"],
                "public_url": around.url,
            },
        )
        yield "store", {"url": around.store_url}
        for position, (name, client) in enumerate(settings.clients.items()):
            yield f"clients.{name}", self._client(name, client, position)
        yield f"clients.{OWN_CLIENT}", self._own_client(len(settings.clients))
        contacts = settings.contacts
        yield (
            "contacts",
            {
                "sources": [OWN_SOURCE],
                "shared": True,
                "timeout": contacts.timeout,
                "default_region": contacts.default_region,
            },
        )
        yield "delivery", self._delivery()
        yield "routes", {channel.value: list(self._routes(channel)) for channel in Channel}
        yield "logs", {"level": "debug", "format": "json", "trail": settings.logs.trail}
        if around.console:
            yield "console", _console(around.console)
        yield f"plugins.{OWN_SOURCE}", {"use": stand_in.USE, "people": stand_in.PEOPLE}
        for name in sending_instances(settings):
            yield f"plugins.{name}", self._plugin(settings.plugins[name])

    def _client(self, name: str, client: Client, position: int) -> dict[str, Any]:
        limits = {limit: getattr(client, limit) for limit in _LIMITS}
        for limit, value in limits.items():
            if 0 < value < _ENOUGH:
                self.changes.append(f"clients.{name}.{limit}: lifted, because the run sends more")
                limits[limit] = 0
        return {
            **self._both_sides(name, position),
            "sms_authorization": client.sms_authorization,
            "email_senders": client.email_senders,
            "sms_senders": client.sms_senders,
            "sms_default_sender": client.sms_default_sender,
            "sms_max_parts": client.sms_max_parts,
            **limits,
        }

    def _own_client(self, position: int) -> dict[str, Any]:
        senders = {
            channel: [sender_of(channel, REFUSING_SENDER)]
            + [sender_of(channel, number) for number, _ in enumerate(sending_instances(self._settings))]
            for channel in Channel
        }
        return {
            **self._both_sides(OWN_CLIENT, position),
            "email_senders": senders[Channel.EMAIL],
            "sms_senders": senders[Channel.SMS],
            "sms_max_parts": MAX_PARTS,
            "per_user_per_day": PER_USER,
        }

    def _both_sides(self, name: str, position: int) -> dict[str, Any]:
        around = self._surroundings
        return {
            "authorization": [around.secrets[f"authorization of {name}"]],
            "allow_ips": [client_address(position)],
            "callback_api_key": around.secrets["callback key"],
            "callback_hosts": ["127.0.0.1"],
            "callback_url": around.callback_url,
            "allow_private_callbacks": True,
            "preview_recipients": [around.preview],
        }

    def _delivery(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.to_builtins(self._settings.delivery)
        if found["uncertain_wait"] > _UNCERTAIN_WAIT:
            self.changes.append(f"delivery.uncertain_wait: {_UNCERTAIN_WAIT:g} seconds")
            found["uncertain_wait"] = _UNCERTAIN_WAIT
        return found

    def _routes(self, channel: Channel) -> Iterator[dict[str, Any]]:
        for route in self._settings.routes.of(channel):
            yield self._route(route)
        own = {"clients": [OWN_CLIENT]}
        for number, name in enumerate(sending_instances(self._settings)):
            if name in self._settings.routes.instances(channel):
                senders = [sender_of(channel, number)]
                yield {"name": f"prove-{channel}-{number}", **own, "senders": senders, "use": [name]}
        if self._settings.routes.of(channel):
            senders = [sender_of(channel, REFUSING_SENDER)]
            yield {
                "name": f"prove-{channel}-refuse",
                **own,
                "senders": senders,
                "refuse": "this sender is closed",
            }

    def _route(self, route: Route) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.to_builtins(route)
        if found["next_after"] > _NEXT_AFTER:
            self.changes.append(f"route {route.name}: next_after {_NEXT_AFTER:g} seconds")
            found["next_after"] = _NEXT_AFTER
        if 0 < found["per_day"] < _ENOUGH:
            self.changes.append(f"route {route.name}: per_day lifted, because the run sends more")
            found["per_day"] = 0
        # A rule for every client is not for the own one.
        found["clients"] = route.clients or list(self._settings.clients)
        return {key: value for key, value in found.items() if value}

    def _plugin(self, instance: InstanceSettings) -> dict[str, Any]:
        if instance.per_second:
            self.changes.append(
                f"plugins.{instance.name}.per_second: no limit, because the run would wait for it"
            )
        if instance.warmup:
            self.changes.append(f"plugins.{instance.name}.warmup: no cap, for the same reason")
        return {
            **self._surroundings.tables[instance.name],
            "concurrency": instance.concurrency,
            "timeout": min(instance.timeout, _TIMEOUT),
        }


def _console(listen: str) -> dict[str, Any]:
    return {"listen": listen, "user_header": CONSOLE_USER_HEADER, "user_header_networks": ["127.0.0.1"]}


def sending_instances(settings: Settings) -> Sequence[str]:
    """Return the names of the instances on any route, in order."""
    both = (name for channel in Channel for name in settings.routes.instances(channel))
    return list(dict.fromkeys(both))
