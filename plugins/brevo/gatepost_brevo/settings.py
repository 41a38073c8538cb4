"""The settings of a Brevo instance."""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta, Struct

from gatepost import wire
from gatepost.errors import Fault
from gatepost.model import Secret

SENDER = re.compile(r"\+?[0-9]{1,15}|[A-Za-z0-9]{1,11}")
SENDER_FORM = "up to 11 of the characters A-Z a-z 0-9, or up to 15 digits"
_CATEGORY = Meta(description="sms: the kind of all its messages, which sets their rules and hours")
_TOKEN = Meta(description="the bearer token of the account's webhook; this or webhook_basic verifies reports")
_BASIC = Meta(
    description="the user name and password in the webhook's URL; sms: each message names that URL",
    examples=[{"username": "brevo", "password": "env:BREVO_WEBHOOK_PASSWORD"}],
)


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[plugins.NAME]`` table with ``use = "brevo"``."""

    api_key: Annotated[Secret, Meta(description="an API key of the account; it begins with xkeysib-")]
    channel: Annotated[Literal["email", "sms"], Meta(description="what the instance sends")] = "email"
    default_sender: Annotated[str, Meta(description="sms: the sender if Smartico sends none")] = ""
    category: Annotated[Literal["transactional", "marketing"], _CATEGORY] = "transactional"
    webhook_token: Annotated[Secret | None, _TOKEN] = None
    webhook_basic: Annotated[wire.Login | None, _BASIC] = None
    base_url: Annotated[str, Meta(description="the URL of Brevo's API")] = "https://api.brevo.com"
    connection: wire.ConnectionSetting = None


def check(settings: Settings) -> Iterator[Fault]:
    """Yield every fault that the types can't express, and that no other module finds."""
    yield from wire.key_faults(api_key=settings.api_key, webhook_token=settings.webhook_token)
    if settings.webhook_basic is not None:
        yield from settings.webhook_basic.faults("webhook_basic")
        if settings.webhook_token is not None:
            yield Fault("webhook_basic", "can't stand beside webhook_token: choose one of them")
    if settings.channel == "sms":
        if settings.default_sender and not SENDER.fullmatch(settings.default_sender):
            yield Fault("default_sender", f"must be {SENDER_FORM}")
    elif settings.default_sender:
        yield Fault("default_sender", 'is only for channel = "sms": an email has its own sender')
    if settings.category != "transactional" and settings.channel != "sms":
        yield Fault("category", 'is only for channel = "sms"')
