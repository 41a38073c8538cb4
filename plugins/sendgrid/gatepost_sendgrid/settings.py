"""The settings of a SendGrid instance."""

from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from gatepost import wire
from gatepost.errors import Fault
from gatepost.model import Secret

MAX_CATEGORIES = 10
"""The categories that SendGrid takes with one mail."""

_Category = Annotated[str, Meta(min_length=1, max_length=255)]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A ``[plugins.NAME]`` table with ``use = "sendgrid"``."""

    api_key: Annotated[Secret, Meta(description="an API key with the permission Mail Send")]
    base_url: Annotated[
        str,
        Meta(description="the URL of the API; https://api.eu.sendgrid.com for a subuser in the EU"),
    ] = "https://api.sendgrid.com"
    connection: wire.ConnectionSetting = None
    webhook_public_key: Annotated[
        str,
        Meta(description="the Event Webhook's verification key; without it no reports are accepted"),
    ] = ""
    sandbox_mode: Annotated[bool, Meta(description="whether SendGrid only checks mails and sends none")] = (
        False
    )
    categories: Annotated[
        tuple[_Category, ...],
        Meta(
            max_length=MAX_CATEGORIES,
            description="the categories of these mails in SendGrid's statistics, before client and route",
        ),
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


def check(settings: Settings) -> Iterator[Fault]:
    """Yield every fault that the types can't express, and that no other module finds."""
    yield from wire.key_faults(api_key=settings.api_key)
    if len(set(settings.categories)) != len(settings.categories):
        yield Fault("categories", "must not name a category twice")
