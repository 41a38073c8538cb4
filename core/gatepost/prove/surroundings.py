"""What stands around the gateway of a run: its ports, its secrets, Smartico's stand-in, and the providers."""

import secrets
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from typing import Any, NamedTuple

import msgspec

from gatepost.config.settings import Settings
from gatepost.hookspecs import SEND_HOOKS
from gatepost.model import Channel, Secret
from gatepost.plugin_host import discovery
from gatepost.plugin_host.discovery import implements
from gatepost.prove import stand_in
from gatepost.testing import emulators
from gatepost.testing.configuration import free_port
from gatepost.testing.conformance.provider import provider_of
from gatepost.testing.smartico import Smartico


class Standing(NamedTuple):
    """What stands in the place of one sending instance's provider."""

    instance: str
    use: str
    """The plugin of the configuration."""
    emulator: Any = None
    """The plugin's own emulator; None where the stand-in replaces plugin and provider."""
    channels: Collection[Channel] = frozenset(Channel)
    why: str = ""
    """Why there is no emulator."""


class Surroundings(NamedTuple):
    """Everything around one gateway."""

    port: int
    smartico: Smartico
    secrets: Mapping[str, str]
    """Secrets of this run, by name; none may turn up anywhere."""
    tables: Mapping[str, Mapping[str, Any]]
    """The table of each sending instance, without the keys of the core."""
    standings: Sequence[Standing]
    store_url: str
    preview: str
    """The address of the previews."""
    console: str
    """Where the console listens; empty where it can't be had."""

    @property
    def url(self) -> str:
        """Where the gateway listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def callback_url(self) -> str:
        """Where callbacks go."""
        return self.smartico.callback_url


@asynccontextmanager
async def surround(
    settings: Settings,
    instances: Sequence[str],
    clients: Collection[str],
    *,
    emulate: bool,
    store_url: str,
    preview: str,
) -> AsyncIterator[Surroundings]:
    """Start what stands around a gateway, and end it.

    ``emulate``: the real plugins, each at the emulator of its provider. Otherwise, and where there is no emulator, plugin
    and provider are replaced by the stand-in.
    """
    made_up = {f"authorization of {name}": f"Bearer {secrets.token_hex(16)}" for name in clients}
    made_up["callback key"] = secrets.token_hex(16)
    async with AsyncExitStack() as stack:
        crm = await stack.enter_async_context(Smartico(api_key=made_up["callback key"]))
        port, tables, standings = free_port(), {}, []
        for name in instances:
            standing = await _stand_for(name, settings.plugins[name].use, stack, emulate=emulate)
            standings.append(standing)
            if standing.emulator is None:
                tables[name] = {"use": stand_in.USE}
                continue
            table = dict(standing.emulator.table)
            made_up |= {f"{key} of {name}": text for key, text in _secret_texts(standing.use, table)}
            tables[name] = {"use": standing.use, **table}
            standing.emulator.webhook_url = f"http://127.0.0.1:{port}/webhooks/{name}"
        console = f"127.0.0.1:{free_port()}" if find_spec("argon2") and find_spec("jinja2") else ""
        yield Surroundings(port, crm, made_up, tables, standings, store_url, preview, console)


async def _stand_for(instance: str, use: str, stack: AsyncExitStack, *, emulate: bool) -> Standing:
    if not emulate:
        return Standing(instance, use)
    if use not in emulators.installed():
        return Standing(instance, use, why="its plugin has no emulator")
    try:
        emulator = emulators.create(use)
    except RuntimeError as error:
        return Standing(instance, use, why=str(error))
    if provider_of(emulator) is None:
        return Standing(instance, use, why="the plugin's emulator takes no messages")
    plugin = discovery.load(use)
    channels = {
        channel
        for channel in getattr(emulator, "channels", Channel)
        if implements(plugin, SEND_HOOKS[channel])
    }
    return Standing(instance, use, await stack.enter_async_context(emulator), channels)


def _secret_texts(use: str, table: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the keys and values of a table that the plugin's settings take for secrets."""
    fields = msgspec.structs.fields(discovery.settings_type(use))
    # A field's type may be Annotated[Secret | None, ...].
    names = {field.encode_name for field in fields if Secret.__name__ in str(field.type)}
    return [
        (key, text)
        for key, text in table.items()
        if key in names and isinstance(text, str) and len(text) > 11
    ]
