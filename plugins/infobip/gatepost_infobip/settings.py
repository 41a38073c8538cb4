"""The settings of an Infobip instance."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from gatepost import wire
from gatepost.errors import Fault
from gatepost.model import Secret

NUMBER = re.compile(r"[1-9][0-9]{6,14}")
"""A phone number as Infobip takes and reports it: with its country code, and without a plus sign."""


class Sender(NamedTuple):
    """What a sender looks like on a channel; Infobip alone knows which ones belong to the account."""

    pattern: re.Pattern[str]
    form: str


SENDERS: Mapping[str, Sender] = {
    "sms": Sender(
        re.compile(r"[0-9]{1,15}|(?! )[ -~]{1,11}(?<! )"), "up to 15 digits, or up to 11 characters of ASCII"
    ),
    "viber": Sender(re.compile(r"(?! ).{1,50}(?<! )"), "the name of your Viber sender, up to 50 characters"),
    "whatsapp": Sender(NUMBER, "the number of your WhatsApp sender: 7 to 15 digits, the first not 0"),
}
_LANGUAGE = re.compile(r"[a-z]{2,3}(_[A-Z]{2,4})?")
_TEMPLATE = re.compile(r"[a-z0-9_]{1,512}")


class Template(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The WhatsApp template whose one placeholder is filled with the text."""

    name: Annotated[str, Meta(description="its name in Infobip's portal")]
    language: Annotated[str, Meta(description="its language there, such as en_GB")]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[plugins.NAME]`` table with ``use = "infobip"``."""

    base_url: Annotated[
        str,
        Meta(
            description="the account's own URL, as Infobip's portal shows it",
            examples=["https://xxxxx.api.infobip.com"],
        ),
    ]
    api_key: Annotated[Secret, Meta(description="an API key that may send on the channel")]
    webhook_token: Annotated[
        Secret | None,
        Meta(description="a secret of your own; each message tells Infobip to report with it, as ?token="),
    ] = None
    webhook_basic: Annotated[
        wire.Login | None,
        Meta(
            description="the user name and the password with which the account's subscriptions report",
            examples=[{"username": "infobip", "password": "env:INFOBIP_WEBHOOK_PASSWORD"}],
        ),
    ] = None
    channel: Annotated[Literal["sms", "viber", "whatsapp"], Meta(description="what it sends on")] = "sms"
    default_sender: Annotated[
        str,
        Meta(description="sms: the sender if Smartico sends none; viber, whatsapp: the only one, required"),
    ] = ""
    category: Annotated[
        Literal["transaction", "promotion"], Meta(description="viber: how all of its messages are labelled")
    ] = "transaction"
    template: Annotated[
        Template | None,
        Meta(
            description="whatsapp, required: the approved template whose one placeholder is the text",
            examples=[{"name": "news", "language": "en_GB"}],
        ),
    ] = None
    connection: wire.ConnectionSetting = None


def sender_on(channel: str, sender: str) -> str | None:
    """Return the sender as Infobip takes it, a number without its plus sign; None where no account can have it."""
    number = sender.removeprefix("+")
    sender = number if number.isdigit() else sender
    return sender if sender.isprintable() and SENDERS[channel].pattern.fullmatch(sender) else None


def find_faults(settings: Settings) -> Iterator[Fault]:
    """Yield every fault that the types can't express, but for those of the connection."""
    yield from wire.key_faults(api_key=settings.api_key, webhook_token=settings.webhook_token)
    if settings.webhook_basic is not None:
        yield from settings.webhook_basic.faults("webhook_basic")
    channel, sender, template = settings.channel, settings.default_sender, settings.template
    if sender_on(channel, sender) is None and (sender or channel != "sms"):
        yield Fault("default_sender", f"{'must be' if sender else 'is missing: set'} {SENDERS[channel].form}")
    if channel != "viber" and settings.category != "transaction":
        yield Fault("category", 'has no effect: only channel = "viber" has categories')
    if (template is None) == (channel == "whatsapp"):
        missing = 'is missing: channel = "whatsapp" needs { name = "...", language = "..." }'
        yield Fault("template", missing if template is None else 'has no effect without channel = "whatsapp"')
    if template is not None and not _TEMPLATE.fullmatch(template.name):
        yield Fault("template.name", "is no name of a template: only a-z, 0-9 and _ are allowed")
    if template is not None and not _LANGUAGE.fullmatch(template.language):
        yield Fault(
            "template.language", "must be a language as Infobip's portal writes it, such as en or en_GB"
        )
