"""The settings of a SendGrid instance."""

import re
from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from gatepost import wire
from gatepost.errors import ConfigError, Fault
from gatepost.model import Secret

# The key travels in an HTTP header, which can't hold spaces or line breaks.
_KEY = re.compile("[!-~]+")

_Category = Annotated[str, Meta(min_length=1, max_length=255)]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A ``[plugins.NAME]`` table with ``use = "sendgrid"``."""

    api_key: Annotated[Secret, Meta(description="an API key with the permission Mail Send")]
    base_url: Annotated[
        str,
        Meta(description="the URL of the API; https://api.eu.sendgrid.com for a subuser in the EU"),
    ] = "https://api.sendgrid.com"
    webhook_public_key: Annotated[
        str,
        Meta(description="the Event Webhook's verification key; without it no reports are accepted"),
    ] = ""
    sandbox_mode: Annotated[bool, Meta(description="whether SendGrid only checks mails and sends none")] = (
        False
    )
    categories: Annotated[
        tuple[_Category, ...],
        Meta(max_length=10, description="the categories of these mails in SendGrid's statistics"),
    ] = ()
    click_tracking: Annotated[
        bool | None,
        Meta(description="whether links are rewritten to track clicks; left out: as the account is set"),
    ] = None
    open_tracking: Annotated[
        bool | None,
        Meta(
            description="whether a pixel is added to track opens, without which no mail is reported as opened; "
            "left out: as the account is set"
        ),
    ] = None
    count_machine_opens: Annotated[
        bool, Meta(description="whether an image fetched by a mail client's proxy counts as opened")
    ] = False


def check(settings: Settings) -> None:
    """Raise ConfigError with every fault that the types can't express.

    webhook_public_key is not checked here but in ``reports``, which parses it.
    """
    faults = list(_faults(settings))
    if faults:
        raise ConfigError(faults)


def _faults(settings: Settings) -> Iterator[Fault]:
    if not _KEY.fullmatch(settings.api_key.reveal()):
        yield Fault("api_key", "must be the key as SendGrid showed it: one word, without spaces")
    if len(set(settings.categories)) != len(settings.categories):
        yield Fault("categories", "must not name a category twice")
    try:
        wire.check_base_url(settings.base_url)
    except ConfigError as error:
        yield from error.faults
