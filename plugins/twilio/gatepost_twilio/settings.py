"""The settings of a Twilio instance."""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gatepost import wire
from gatepost.errors import Fault
from gatepost.model import Secret

SENDER_FORM = "a phone number, a short code, or up to 11 letters, digits, spaces and + - _ &, with a letter"
_NUMBER = re.compile(r"\+?([1-9][0-9]{8,14})")
_SHORT_CODE_OR_NAME = re.compile(r"[0-9]{3,8}|(?=.*[A-Za-z])[A-Za-z0-9 +_&-]{1,11}")
_API_KEY = {"username": "SK0123456789abcdef0123456789abcdef", "password": "env:TWILIO_API_KEY"}


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[plugins.NAME]`` table with ``use = "twilio"``."""

    account_sid: Annotated[str, Meta(description="the SID of the account or subaccount that sends: AC...")]
    auth_token: Annotated[
        Secret | None, Meta(description="the auth token: it signs reports, and signs in without an api_key")
    ] = None
    secondary_auth_token: Annotated[
        Secret | None, Meta(description="another token that may sign reports, while auth_token is replaced")
    ] = None
    api_key: Annotated[
        wire.Login | None,
        Meta(description="an API key to sign in with: its SID, SK..., and its secret", examples=[_API_KEY]),
    ] = None
    channel: Annotated[Literal["sms", "whatsapp"], Meta(description="what the messages are sent on")] = "sms"
    default_sender: Annotated[
        str, Meta(description="sms: the sender if Smartico sends none; whatsapp: the only one, a number")
    ] = ""
    messaging_service: Annotated[
        str, Meta(description="the SID of a Messaging Service, MG..., that chooses among its senders")
    ] = ""
    template: Annotated[
        str, Meta(description="whatsapp, required: the SID, HX..., of the template with the text as {{1}}")
    ] = ""
    base_url: Annotated[
        str, Meta(description="the URL of the API, api.EDGE.REGION.twilio.com for a region")
    ] = "https://api.twilio.com"
    connection: wire.ConnectionSetting = None


def sender_id(sender: str) -> str | None:
    """Return a sender as Twilio expects it, a phone number with its plus sign; None if Twilio would refuse it."""
    if number := _NUMBER.fullmatch(sender):
        return f"+{number[1]}"
    return sender if _SHORT_CODE_OR_NAME.fullmatch(sender) else None


def check(settings: Settings) -> Iterator[Fault]:
    """Yield every fault that the types can't express, and that no other module finds."""
    token, api_key, sender = settings.auth_token, settings.api_key, settings.default_sender
    yield from wire.key_faults(auth_token=token, secondary_auth_token=settings.secondary_auth_token)
    yield from api_key.faults("api_key") if api_key else ()
    if token is None and api_key is None:
        yield Fault("auth_token", "is missing: without it and without api_key nothing can be sent")
    if settings.channel == "whatsapp":
        if not (_NUMBER.fullmatch(sender) or (settings.messaging_service and not sender)):
            yield Fault("default_sender", "must be the number of your WhatsApp sender, with its country code")
    elif settings.template:
        yield Fault("template", 'is only for channel = "whatsapp"')
    elif sender and sender_id(sender) is None:
        yield Fault("default_sender", f"must be {SENDER_FORM}")
    for key, prefix, sid in (
        ("account_sid", "AC", settings.account_sid),
        ("api_key.username", "SK", api_key.username if api_key else None),
        ("messaging_service", "MG", settings.messaging_service or None),
        ("template", "HX", settings.template if settings.channel == "whatsapp" else None),
    ):
        if sid is not None and not re.fullmatch(f"{prefix}[0-9a-fA-F]{{32}}", sid):
            yield Fault(key, f"must be the SID that Twilio shows: {prefix} and 32 hexadecimal digits")
