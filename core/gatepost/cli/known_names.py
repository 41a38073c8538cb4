"""Names in options that neither the configuration nor the store has: a command that means messages refuses them."""

import asyncio

from gatepost.cli import store
from gatepost.cli.common import fail, printable
from gatepost.config.settings import Settings
from gatepost.config.toml_table import closest_name, suggestion
from gatepost.model import Channel
from gatepost.outbox.queues import all_queues


def require_known(settings: Settings, *, client: str, route: str) -> None:
    """End the command for a client or a route that neither the configuration nor the store has; empty: none is meant."""
    queues = asyncio.run(store.fetch(settings, all_queues))
    clients = {*settings.clients, *(queue.client for queue in queues)}
    routes = {
        *(route.name for channel in Channel for route in settings.routes.of(channel)),
        *(queue.route for queue in queues),
    } - {""}
    for what, name, known in (("client", client, clients), ("route", route, routes)):
        if name and name not in known:
            advice = suggestion(closest_name(name, known), known)
            fail(f"neither the configuration nor the store has a {what} {printable(name)}; {advice}")
