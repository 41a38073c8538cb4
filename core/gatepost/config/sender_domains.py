"""The domains of the senders whose emails an instance may get to send, as far as the configuration lists them."""

from collections.abc import Iterator

import idna

from gatepost.config.routes import Route
from gatepost.config.settings import Settings
from gatepost.model import Channel


def sender_domains(settings: Settings, instance: str) -> tuple[str, ...]:
    """Return the domains in ASCII and lower case, each once; none where any sender is allowed."""
    routes = [route for route in settings.routes.of(Channel.EMAIL) if instance in route.instances]
    return tuple(dict.fromkeys(domain for route in routes for domain in _of_route(settings, route)))


def _of_route(settings: Settings, route: Route) -> Iterator[str]:
    """Yield the domains of the clients' senders, without those that the route's own condition excludes."""
    wanted = set(_domains(route.senders))
    for name, client in settings.clients.items():
        if route.clients and name not in route.clients:
            continue
        for domain in _domains(client.email_senders):
            if not wanted or domain in wanted:
                yield domain
        if not client.email_senders:
            yield from wanted


def _domains(entries: tuple[str, ...]) -> list[str]:
    found = []
    for entry in entries:
        try:
            found.append(idna.encode(entry.rpartition("@")[2], uts46=True).decode("ascii"))
        except idna.IDNAError:
            # The check of the settings has a fault for it.
            continue
    return found
