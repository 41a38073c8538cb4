"""The settings of a sandbox instance."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from gatepost.errors import ConfigError, Fault
from gatepost.model import Secret

_Seconds = Annotated[float, Meta(ge=0, le=3600)]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A ``[plugins.NAME]`` table with ``use = "sandbox"``."""

    folder: Annotated[
        Path,
        Meta(
            description="the folder for the messages, one file each; created if it does not exist",
            examples=["mailbox"],
        ),
    ]
    webhook_secret: Annotated[
        Secret | None,
        Meta(description="the secret that signs and verifies reports; without it nothing is reported"),
    ] = None
    report_after: Annotated[
        _Seconds,
        Meta(description="seconds from a message to its first report, and from each report to the next"),
    ] = 0.2
    slow: Annotated[
        _Seconds,
        Meta(description="seconds that a message to a slow recipient takes; less than timeout"),
    ] = 0.5
    default_sender: Annotated[
        str, Meta(description="the sender of a text message if Smartico sends no from_number")
    ] = "Sandbox"


def check(settings: Settings, *, timeout: float) -> None:
    """Raise ConfigError with every fault that the types can't express."""
    faults = list(_faults(settings, timeout))
    if faults:
        raise ConfigError(faults)


def _faults(settings: Settings, timeout: float) -> Iterator[Fault]:
    if settings.slow >= timeout:
        yield Fault("slow", f"must be less than this plugin's timeout of {timeout:g} s")
    if settings.webhook_secret is not None and not settings.webhook_secret:
        yield Fault("webhook_secret", "is empty: set a secret, or leave the key out")
