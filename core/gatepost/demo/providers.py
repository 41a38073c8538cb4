"""What the demo asks a plugin and its emulator."""

import asyncio
from collections.abc import Callable, Sequence

from gatepost.hookspecs import SEND_HOOKS
from gatepost.model import Channel, Status
from gatepost.plugin_host import discovery
from gatepost.plugin_host.discovery import implements
from gatepost.testing import emulators
from gatepost.testing.demo_provider import DemoProvider

_POLL_INTERVAL = 0.05
"""Seconds between two looks at the messages that a provider has."""


def channels(use: str) -> list[Channel]:
    """Return what the plugin sends on its emulator. Raises ConfigError where it can't be used."""
    plugin = discovery.load(use)
    of_table = getattr(emulators.create(use), "channels", Channel)
    return [
        channel for channel, hook in SEND_HOOKS.items() if channel in of_table and implements(plugin, hook)
    ]


async def report_statuses(provider: DemoProvider, statuses_of: Callable[[str], Sequence[Status]]) -> None:
    """Report for each message the statuses that ``statuses_of`` returns for its recipient, until cancelled."""
    reported: set[str] = set()
    while True:
        for arrival in provider.arrivals():
            if arrival.id not in reported:
                reported.add(arrival.id)
                for status in statuses_of(arrival.recipient):
                    await provider.report_status(arrival.id, status)
        await asyncio.sleep(_POLL_INTERVAL)
