"""The settings of an Infobip instance."""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gatepost import wire
from gatepost.errors import Fault
from gatepost.model import Secret

NUMBER = re.compile(r"[1-9][0-9]{6,14}")
"""A phone number as Infobip takes and reports it: with its country code, and without a plus sign."""
SENDERS = {
    "sms": (re.compile(r"[0-9]{1,15}|(?! )[ -~]{1,11}(?<! )"), "up to 15 digits or 11 ASCII characters"),
    "viber": (re.compile(r"(?! ).{1,50}(?<! )"), "your Viber sender's name, up to 50 characters"),
    "whatsapp": (NUMBER, "your WhatsApp sender's number: 7 to 15 digits, the first not 0"),
}
_URL = Meta(description="the account's own URL", examples=["https://xxxxx.api.infobip.com"])
_BASIC = Meta(description="a subscription's login", examples=[{"username": "gw", "password": "env:PASSWORD"}])
_TEMPLATE = Meta(description="for whatsapp, required", examples=[{"name": "news", "language": "en_GB"}])


class Template(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The WhatsApp template whose one placeholder is filled with the text."""

    name: Annotated[str, Meta(description="its name in Infobip's portal")]
    language: Annotated[str, Meta(description="its language there, such as en_GB")]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[plugins.NAME]`` table with ``use = "infobip"``."""

    base_url: Annotated[str, _URL]
    api_key: Annotated[Secret, Meta(description="an API key that may send on the channel")]
    webhook_token: Annotated[Secret | None, Meta(description="your own secret; in the reports' URL")] = None
    webhook_basic: Annotated[wire.Login | None, _BASIC] = None
    channel: Annotated[Literal["sms", "viber", "whatsapp"], Meta(description="what it sends on")] = "sms"
    default_sender: Annotated[str, Meta(description="the sender; for sms: if Smartico sends none")] = ""
    category: Annotated[Literal["transaction", "promotion"], Meta(description="for viber")] = "transaction"
    template: Annotated[Template | None, _TEMPLATE] = None
    connection: wire.ConnectionSetting = None


def sender_on(channel: str, sender: str) -> str | None:
    """Return the sender as Infobip takes it, a number without its plus sign; None where no account can have it."""
    number = sender.removeprefix("+")
    sender = number if number.isdigit() else sender
    return sender if sender.isprintable() and SENDERS[channel][0].fullmatch(sender) else None


def find_faults(settings: Settings) -> Iterator[Fault]:
    """Yield every fault that the types can't express, but for those of the connection."""
    yield from wire.key_faults(api_key=settings.api_key, webhook_token=settings.webhook_token)
    if settings.webhook_token and len(settings.webhook_token.reveal()) < 20:
        yield Fault("webhook_token", "is too short: make it a secret of at least 20 characters")
    yield from settings.webhook_basic.faults("webhook_basic") if settings.webhook_basic else ()
    channel, sender, template = settings.channel, settings.default_sender, settings.template
    if sender_on(channel, sender) is None and (sender or channel != "sms"):
        yield Fault("default_sender", f"{'must be' if sender else 'is missing: set'} {SENDERS[channel][1]}")
    if channel != "viber" and settings.category != "transaction":
        yield Fault("category", 'has no effect: only channel = "viber" has categories')
    if (template is None) == (channel == "whatsapp"):
        problem = "has no effect without" if template else "must be the name and the language of one for"
        yield Fault("template", f'{problem} channel = "whatsapp"')
    if template and not re.fullmatch("[a-z0-9_]{1,512}", template.name):
        yield Fault("template.name", "is no name of a template: it has only a-z, 0-9 and _")
    if template and not re.fullmatch("[a-z]{2,3}(_[A-Z]{2,4})?", template.language):
        yield Fault("template.language", "must be a language as in Infobip's portal, such as en or en_GB")
