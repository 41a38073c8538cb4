"""The providers that the demo can show: those that an installed plugin offers in its module ``testing``."""

import asyncio
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from gatepost.hookspecs import SEND_HOOKS
from gatepost.model import Channel, Status
from gatepost.plugin_host import discovery
from gatepost.plugin_host.discovery import implements
from gatepost.testing.demo_provider import DemoProvider

_POLL_INTERVAL = 0.05
"""Seconds between two looks at the messages that a provider has."""


def names() -> list[str]:
    """Return the plugins whose package has a module ``testing``; imports none of them."""
    return sorted(use for use in discovery.installed() if _has_testing(_package(use)))


def _package(use: str) -> str:
    return discovery.installed()[use].module.partition(".")[0]


def _has_testing(package: str) -> bool:
    found = find_spec(package)
    folders = [Path(folder) for folder in (found.submodule_search_locations if found else None) or ()]
    return any((folder / "testing.py").exists() or (folder / "testing").is_dir() for folder in folders)


def create(use: str) -> DemoProvider:
    """Return the provider that this plugin has for the demo, not started yet.

    Raises RuntimeError where its module ``testing`` can't be imported or has no DEMO_PROVIDER.
    """
    name = f"{_package(use)}.testing"
    try:
        provider: DemoProvider = import_module(name).DEMO_PROVIDER()
    except (ImportError, AttributeError) as error:
        raise RuntimeError(f"{name} has no usable DEMO_PROVIDER: {error}") from None
    return provider


def channels(use: str) -> list[Channel]:
    """Return what the plugin sends. Raises ConfigError where it can't be used."""
    plugin = discovery.load(use)
    return [channel for channel, hook in SEND_HOOKS.items() if implements(plugin, hook)]


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
