"""Checks of what a send costs, and of where it connects to. Each runs once for each channel."""

import functools

from gatepost.testing.conformance import cpu_units
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.features import MessageFeature

_SENDS = 6
"""Messages that are sent one after the other."""
_HERE = frozenset({"", "127.0.0.1", "::1", "localhost"})
"""The hosts of an emulated provider."""
_MAX_CONNECTIONS = 2
"""Connections that they may take: a pool may keep one more open, and a server may close one."""


@check(Group.SEND, after=("send.free_loop",))
async def cpu(harness: Harness) -> None:
    """Use little CPU for each message, in threads too: what is the same for all messages is made once.

    Make clients, keys, tokens and templates once, in the constructor or the lifespan.
    """
    async with harness.run_plugin() as running:
        await cpu_units.assert_cheap(running.recorder, functools.partial(harness.send_message, running))


@check(Group.SEND, MessageFeature.CONNECTIONS)
async def connections(harness: Harness) -> None:
    """Keep connections open, and send several messages over one.

    Keep one client open while the lifespan is: a new connection takes several round trips, and a handshake with
    TLS.
    """
    provider = harness.emulated_provider
    async with harness.run_plugin() as running:
        before = getattr(provider, "connections", None)
        assert isinstance(before, int), "the suite's `provider` does not count: give it `connections`"
        for _ in range(_SENDS):
            await harness.send_message(running)
        opened = getattr(provider, "connections", 0) - before
    assert opened <= _MAX_CONNECTIONS, f"it opened {opened} connections for {_SENDS} messages in a row"


@check(Group.SEND)
async def only_its_provider(harness: Harness) -> None:
    """Connect to no host but that of its provider, which is on this machine while it is emulated.

    Call the URL of the settings alone: no telemetry, no search for updates, no other API.
    """
    async with harness.run_plugin() as running:
        await harness.send_message(running)
    others = sorted(running.recorder.hosts - _HERE)
    assert not others, f"it connects to {', '.join(others)}"
