"""The settings of a Twilio instance."""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gatepost import wire
from gatepost.errors import Fault
from gatepost.model import Secret

_NUMBER = re.compile(r"\+?[1-9][0-9]{8,14}")
_SHORT_CODE = re.compile(r"[0-9]{3,8}")
_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 +_&-]{1,11}")
# Twilio has switched off the hosts that name a region and no edge.
_REGION_ALONE = re.compile(r"https://api\.([a-z]{2}[0-9])\.twilio\.com/?")
_EDGES = {
    "ie1": "dublin",
    "au1": "sydney",
    "br1": "sao-paulo",
    "de1": "frankfurt",
    "jp1": "tokyo",
    "sg1": "singapore",
    "us2": "umatilla",
}


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[plugins.NAME]`` table with ``use = "twilio"``."""

    account_sid: Annotated[str, Meta(description="the SID of the account or subaccount that sends: AC...")]
    auth_token: Annotated[
        Secret | None,
        Meta(
            description="that account's auth token, which signs the reports: without it none are accepted; it also "
            "signs in where there is no API key"
        ),
    ] = None
    secondary_auth_token: Annotated[
        Secret | None,
        Meta(description="the account's other auth token, while it is replaced: it may sign reports too"),
    ] = None
    api_key_sid: Annotated[
        str, Meta(description="the SID of the API key to sign in with: SK...", extra={"public": True})
    ] = ""
    api_key_secret: Annotated[Secret | None, Meta(description="the secret of that API key")] = None
    channel: Annotated[Literal["sms", "whatsapp"], Meta(description="what the messages are sent on")] = "sms"
    default_sender: Annotated[
        str,
        Meta(description="sms: the sender if Smartico sends none; whatsapp: the only one, a number"),
    ] = ""
    messaging_service: Annotated[
        str,
        Meta(description="the SID of a Messaging Service, MG..., which chooses a sender where none is given"),
    ] = ""
    template: Annotated[
        str,
        Meta(
            description="whatsapp: the SID of the approved content template, HX..., that carries the text as its one "
            "variable; required",
            examples=["HX0123456789abcdef0123456789abcdef"],
        ),
    ] = ""
    base_url: Annotated[
        str, Meta(description="the URL of Twilio's API; https://api.dublin.ie1.twilio.com for the region in Ireland")
    ] = "https://api.twilio.com"
    connection: wire.ConnectionSetting = None


def sms_sender(sender: str) -> str | None:
    """Return a sender as Twilio expects it, a phone number with its plus sign; None if Twilio would refuse it."""
    if _NUMBER.fullmatch(sender):
        return "+" + sender.removeprefix("+")
    return sender if _SHORT_CODE.fullmatch(sender) or _NAME.fullmatch(sender) else None


def check(settings: Settings) -> Iterator[Fault]:
    """Yield every fault that the types can't express, and that no other module finds."""
    yield from wire.key_faults(
        auth_token=settings.auth_token,
        secondary_auth_token=settings.secondary_auth_token,
        api_key_secret=settings.api_key_secret,
    )
    if not _is_sid("AC", settings.account_sid):
        yield Fault("account_sid", "must be the account's SID: AC and 32 hexadecimal digits")
    yield from _credential_faults(settings)
    yield from _sender_faults(settings)
    if old := _REGION_ALONE.fullmatch(settings.base_url):
        edge = _EDGES.get(old[1], "EDGE")
        yield Fault("base_url", f"names no edge: use https://api.{edge}.{old[1]}.twilio.com")


def _credential_faults(settings: Settings) -> Iterator[Fault]:
    if bool(settings.api_key_sid) != (settings.api_key_secret is not None):
        missing = "api_key_secret" if settings.api_key_sid else "api_key_sid"
        yield Fault(missing, "is missing: api_key_sid and api_key_secret belong together")
    if settings.api_key_sid and not _is_sid("SK", settings.api_key_sid):
        yield Fault("api_key_sid", "must be the API key's SID: SK and 32 hexadecimal digits")
    if settings.auth_token is None and not settings.api_key_sid:
        yield Fault("auth_token", "is missing: without it and without an API key nothing can be sent")
    if settings.auth_token is None and settings.secondary_auth_token is not None:
        yield Fault("secondary_auth_token", "needs auth_token: set that to the token that signs the reports now")


def _sender_faults(settings: Settings) -> Iterator[Fault]:
    sender, template = settings.default_sender, settings.template
    if settings.messaging_service and not _is_sid("MG", settings.messaging_service):
        yield Fault("messaging_service", "must be the Messaging Service's SID: MG and 32 hexadecimal digits")
    if settings.channel == "sms":
        if sender and sms_sender(sender) is None:
            yield Fault(
                "default_sender",
                "must be a phone number, a short code, or up to 11 of A-Z a-z 0-9, space and + - _ & with a letter",
            )
        if template:
            yield Fault("template", 'is only for channel = "whatsapp"')
        return
    if not (_NUMBER.fullmatch(sender) or (settings.messaging_service and not sender)):
        yield Fault("default_sender", "must be the number of your WhatsApp sender, with its country code")
    if not _is_sid("HX", template):
        problem = "must be a content template's SID, HX and 32 hexadecimal digits"
        yield Fault("template", f"{problem}: outside a conversation WhatsApp takes nothing but templates")


def _is_sid(prefix: str, sid: str) -> bool:
    return re.fullmatch(f"{prefix}[0-9a-fA-F]{{32}}", sid) is not None
