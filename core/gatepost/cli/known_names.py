"""Names in options that neither the configuration nor the store has: a command that means messages refuses them."""

import asyncio

from gatepost.cli import store
from gatepost.cli.common import fail, printable
from gatepost.config.settings import Settings
from gatepost.outbox.queues import all_queues
from gatepost.web.admin import known_names


def require_known(settings: Settings, *, client: str, route: str) -> None:
    """End the command for a client or a route that neither the configuration nor the store has; empty: none is meant."""
    if not (client or route):
        return
    queues = asyncio.run(store.fetch(settings, all_queues))
    for what, name, known in (
        ("client", client, known_names.clients(settings, queues)),
        ("route", route, known_names.routes(settings, queues)),
    ):
        if name and name not in known:
            advice = known_names.advice(name, known)
            fail(f"neither the configuration nor the store has a {what} {printable(name)}; {advice}")
