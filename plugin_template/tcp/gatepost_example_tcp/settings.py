"""The settings that an operator writes into ``[plugins.NAME]``."""

import ssl
from collections.abc import Iterator
from typing import Annotated

import msgspec
from gatepost.errors import ConfigError, Fault
from gatepost.model import Secret
from msgspec import Meta

_SERVER = "gateway.example-tcp.invalid"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[plugins.NAME]`` table with ``use = "example-tcp"``."""

    key: Annotated[Secret, Meta(description="the account's key")]
    host: Annotated[str, Meta(description="the server")] = _SERVER
    port: Annotated[int, Meta(ge=1, le=65535, description="its port")] = 2775
    tls: Annotated[bool, Meta(description="whether the connections are encrypted")] = True
    # <sms>
    default_sender: Annotated[
        str, Meta(description="the sender of a text message if Smartico sends no from_number")
    ] = ""
    # </sms>

    def tls_context(self) -> ssl.SSLContext | None:
        """Return what encrypts the connections; None where they are not encrypted."""
        return ssl.create_default_context() if self.tls else None


def check(settings: Settings) -> None:
    """Raise ConfigError with every fault that the types can't express."""
    faults = list(_faults(settings))
    if faults:
        raise ConfigError(faults)


def _faults(settings: Settings) -> Iterator[Fault]:
    if not settings.key:
        yield Fault("key", "is empty")
    if not settings.host.isascii() or not settings.host.isprintable() or not settings.host.strip():
        yield Fault("host", "must be the name of a server")
