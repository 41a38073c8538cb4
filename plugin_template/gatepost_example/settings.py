"""The settings that an operator writes into ``[plugins.NAME]``."""

import re
from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from gatepost import wire
from gatepost.errors import ConfigError, Fault
from gatepost.model import Secret

# The key travels in an HTTP header, which can't hold spaces or line breaks.
_KEY = re.compile(r"[!-~]+")


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[plugins.NAME]`` table with ``use = "example"``."""

    api_key: Annotated[Secret, Meta(description="the account's API key")]
    base_url: Annotated[str, Meta(description="the URL of the API")] = "https://api.example.invalid"
    # <send>
    webhook_secret: Annotated[
        Secret | None, Meta(description="the secret that signs reports; without it no reports are accepted")
    ] = None
    # </send>
    # <sms>
    default_sender: Annotated[
        str, Meta(description="the sender of a text message if Smartico sends no from_number")
    ] = ""
    # </sms>


def check(settings: Settings) -> None:
    """Raise ConfigError with every fault that the types can't express."""
    faults = list(_faults(settings))
    if faults:
        raise ConfigError(faults)


def _faults(settings: Settings) -> Iterator[Fault]:
    if not _KEY.fullmatch(settings.api_key.reveal()):
        yield Fault("api_key", "must be the key as Example shows it: one word, without spaces")
    # <send>
    if settings.webhook_secret is not None and not settings.webhook_secret:
        # Anyone can sign with an empty secret.
        yield Fault("webhook_secret", "is empty: leave it out to accept no reports")
    # </send>
    try:
        wire.check_base_url(settings.base_url)
    except ConfigError as error:
        yield from error.faults
