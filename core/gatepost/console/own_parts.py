"""Which parts of the gateway a user sees who is limited to some clients, and which pauses such a user may change."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from gatepost.config.settings import Settings
from gatepost.model import Channel
from gatepost.outbox.console_users import ConsoleUser
from gatepost.outbox.pauses import Scope


class OwnParts(NamedTuple):
    """The names that a user sees, in the order of the configuration."""

    clients: Sequence[str]
    routes: Collection[str]
    instances: Collection[str]
    """Those that send."""
    sources: Collection[str]


def own_parts(settings: Settings, user: ConsoleUser) -> OwnParts:
    """Return what sends messages of clients that the user may see, and what knows their users."""
    clients = [name for name in settings.clients if user.may_see(name)]
    routes = [
        route
        for channel in Channel
        for route in settings.routes.of(channel)
        if not route.clients or any(map(user.may_see, route.clients))
    ]
    sources = [name for client in clients for name in settings.contact_sources(client)]
    return OwnParts(
        clients=clients,
        routes=list(dict.fromkeys(route.name for route in routes)),
        instances=list(dict.fromkeys(name for route in routes for name in route.instances)),
        sources=list(dict.fromkeys(sources)),
    )


def stopped_clients(settings: Settings, scope: Scope) -> set[str]:
    """Return the clients of whose messages a pause stops some."""
    if scope.client:
        return {scope.client}
    found: set[str] = set()
    for channel in Channel:
        for route in settings.routes.of(channel):
            if (
                scope.channel in {None, channel}
                and scope.route in {"", route.name}
                and (not scope.plugin or scope.plugin in route.instances)
            ):
                found.update(route.clients or settings.clients)
    return found


def may_change(settings: Settings, user: ConsoleUser, scope: Scope) -> bool:
    """Return whether a pause stops messages of no client that the user may not see."""
    # A pause of something that the configuration no longer has stops nobody, but is not the user's either.
    clients = stopped_clients(settings, scope)
    return not user.clients or (bool(clients) and all(map(user.may_see, clients)))
