"""The limits of the configuration that a status can show: all but those of single users."""

from collections.abc import Mapping

from gatepost.config.settings import Settings
from gatepost.model import Channel
from gatepost.outbox import limits
from gatepost.outbox.records import Limit


def configured_limits(settings: Settings) -> Mapping[str, Limit]:
    """Return the limits of clients and routes, by their keys in the configuration."""
    found: dict[str, Limit] = {}
    for name, client in settings.clients.items():
        if client.max_queued:
            found[f"clients.{name}.max_queued"] = limits.queue_limit(name, client.max_queued)
        for channel in Channel:
            for limit in limits.client_limits(name, channel, client.per_day(channel)):
                found[f"clients.{name}.{channel}_per_day"] = limit
    for channel in Channel:
        for position, route in enumerate(settings.routes.of(channel)):
            for limit in limits.route_limits(channel, route.name, route.per_day):
                found[settings.routes.key(channel, position, "per_day")] = limit
    return found
