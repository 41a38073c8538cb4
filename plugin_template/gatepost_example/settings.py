"""What an operator writes into ``[plugins.NAME]`` with ``use = "example"``."""

import re
from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from gatepost import wire
from gatepost.errors import ConfigError, Fault
from gatepost.model import Secret

# What may stand in a header.
_WORD = re.compile(r"[!-~]+")


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The account at Example."""

    api_key: Annotated[Secret, Meta(description="the account's key")]
    base_url: Annotated[str, Meta(description="where the API is")] = "https://api.example.invalid"
    # <send>
    webhook_secret: Annotated[
        Secret | None, Meta(description="reports are verified with it; without it none are taken")
    ] = None
    # </send>
    # <sms>
    default_sender: Annotated[
        str, Meta(description="who a text message is from where Smartico names nobody")
    ] = ""
    # </sms>


def check(settings: Settings) -> None:
    """Raise ConfigError with everything that the types can't express, key by key."""
    faults = list(_faults(settings))
    if faults:
        raise ConfigError(faults)


def _faults(settings: Settings) -> Iterator[Fault]:
    if not _WORD.fullmatch(settings.api_key.reveal()):
        yield Fault("api_key", "must be the key as Example shows it: one word, no blanks")
    # <send>
    if settings.webhook_secret is not None and not settings.webhook_secret:
        # Anybody can sign with an empty secret.
        yield Fault("webhook_secret", "is empty: leave it out to take no reports")
    # </send>
    try:
        wire.check_base_url(settings.base_url)
    except ConfigError as error:
        yield from error.faults
