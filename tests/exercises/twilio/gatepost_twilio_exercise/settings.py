"""The settings of a Twilio instance."""

import re
from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from gatepost import wire
from gatepost.errors import Fault
from gatepost.model import Secret


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[plugins.NAME]`` table for Twilio."""

    account_sid: Annotated[str, Meta(description="the account's SID: AC and 32 hexadecimal digits")]
    key_sid: Annotated[str, Meta(description="the SID of the API key to send with; or account_sid")]
    key_secret: Annotated[Secret, Meta(description="the secret of key_sid; or the account's auth token")]
    auth_token: Annotated[
        Secret | None, Meta(description="the auth token, which signs reports; without it none are accepted")
    ] = None
    default_sender: Annotated[str, Meta(description="the sender if Smartico sends no from_number")] = ""
    messaging_service: Annotated[
        str,
        Meta(description="the SID of a Messaging Service, which chooses the sender where there is no other"),
    ] = ""
    base_url: Annotated[str, Meta(description="the URL of the API")] = "https://api.twilio.com"
    connection: wire.ConnectionSetting = None


def check(settings: Settings) -> Iterator[Fault]:
    """Yield every fault that the types can't express."""
    yield from wire.key_faults(auth_token=settings.auth_token, key_secret=settings.key_secret)
    for name, prefix in (("account_sid", "AC"), ("key_sid", "(AC|SK)"), ("messaging_service", "MG")):
        sid = getattr(settings, name)
        if (sid or name != "messaging_service") and not re.fullmatch(f"{prefix}[0-9a-fA-F]{{32}}", sid):
            yield Fault(name, f"must be {prefix} and 32 hexadecimal digits")
