"""The settings of a Vonage instance."""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gatepost import wire
from gatepost.errors import Fault
from gatepost.model import Secret
from gatepost_vonage.addresses import SENDER_FORMS, Channel, sender_id

# Meta's rules for the name; before it there may be the account's namespace and a colon.
_TEMPLATE_NAME = re.compile(r"(?:[A-Za-z0-9_]+:)?[a-z0-9_]{1,512}")
_TEMPLATE_LANGUAGE = re.compile(r"[a-z]{2,3}(?:[-_][A-Za-z0-9]{2,4})?")


class Template(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The WhatsApp template that carries every text as its one parameter, ``{{1}}``."""

    name: Annotated[str, Meta(description="the template's name, as WhatsApp approved it")]
    language: Annotated[str, Meta(description="the language that it was approved in, such as en-GB")]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[plugins.NAME]`` table with ``use = "vonage"``."""

    application_id: Annotated[str, Meta(description="the application's id, as Vonage's dashboard shows it")]
    private_key: Annotated[
        Secret,
        Meta(description="the application's private key, in PEM", examples=["file:/run/secrets/vonage.pem"]),
    ]
    signature_secret: Annotated[
        Secret | None,
        Meta(description="the account's secret that reports are signed with; without it none are accepted"),
    ] = None
    channel: Annotated[Channel, Meta(description="what the messages are sent on")] = "sms"
    default_sender: Annotated[
        str,
        Meta(description="sms: the sender if Smartico sends none; viber, whatsapp: the only one, required"),
    ] = ""
    category: Annotated[
        Literal["transaction", "promotion"],
        Meta(description="viber: the kind of all its messages, which sets their price and rules"),
    ] = "transaction"
    template: Annotated[
        Template | None,
        Meta(
            description="whatsapp: the approved template that carries the text as its one parameter; required",
            examples=[{"name": "news", "language": "en-GB"}],
        ),
    ] = None
    base_url: Annotated[str, Meta(description="the URL of Vonage's API")] = "https://api.nexmo.com"
    connection: wire.ConnectionSetting = None


def check(settings: Settings) -> Iterator[Fault]:
    """Yield every fault that the types can't express, and that no other module finds."""
    sender, channel = settings.default_sender, settings.channel
    if not settings.application_id.strip():
        yield Fault("application_id", "is empty: take the application's id from the Vonage dashboard")
    if settings.signature_secret == Secret(""):
        # Anyone can sign with an empty secret.
        yield Fault("signature_secret", "is empty: leave it out to accept no status webhooks")
    # Smartico's from_number is a sender of text messages and means nothing on the other channels.
    if (sender or channel != "sms") and sender_id(sender, channel) is None:
        problem = "must be" if sender else "is missing: it must be"
        yield Fault("default_sender", f"{problem} {SENDER_FORMS[channel]}")
    if settings.category != "transaction" and channel != "viber":
        yield Fault("category", 'is only for channel = "viber"')
    yield from _template_faults(settings.template, channel)


def _template_faults(template: Template | None, channel: Channel) -> Iterator[Fault]:
    if template is None:
        if channel == "whatsapp":
            problem = "is missing: outside a conversation WhatsApp takes only approved templates; set "
            yield Fault("template", problem + '{ name = "...", language = "..." }')
        return
    if channel != "whatsapp":
        yield Fault("template", 'is only for channel = "whatsapp"')
    if not _TEMPLATE_NAME.fullmatch(template.name):
        yield Fault("template.name", "must be a template's name: up to 512 of a-z 0-9 and underscore")
    if not _TEMPLATE_LANGUAGE.fullmatch(template.language):
        yield Fault("template.language", "must be a language as in WhatsApp's manager, such as en or en-GB")
