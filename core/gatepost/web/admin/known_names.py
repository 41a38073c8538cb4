"""The names by which messages are chosen: those that the configuration or the store has."""

from collections.abc import Collection, Iterable, Sequence

from gatepost.config.settings import Settings
from gatepost.config.toml_table import closest_name, suggestion
from gatepost.model import Channel
from gatepost.outbox.records import Queue

NO_ADDRESSES = (
    "this looks like an address or a phone number, and the gateway stores none: give Smartico's id of the user "
    "(ext_user_id)"
)


def clients(settings: Settings, queues: Iterable[Queue]) -> Sequence[str]:
    """Return all clients, also those of which only messages are left."""
    return sorted({*settings.clients, *(queue.client for queue in queues)})


def routes(settings: Settings, queues: Iterable[Queue]) -> Sequence[str]:
    """Return all routes, also those of which only messages are left."""
    configured = {route.name for channel in Channel for route in settings.routes.of(channel)}
    return sorted({*configured, *(queue.route for queue in queues)} - {""})


def plugins(settings: Settings) -> Sequence[str]:
    """Return the instances of all routes."""
    found = [route for channel in Channel for route in settings.routes.of(channel)]
    return sorted({member for route in found for member in (*route.use, *route.split)})


def advice(name: str, known: Collection[str]) -> str:
    """Return which known name may be meant."""
    return suggestion(closest_name(name, known), known)
