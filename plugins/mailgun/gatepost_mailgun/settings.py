"""The settings of a Mailgun instance."""

import re
from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, Struct

from gatepost import wire
from gatepost.errors import Fault
from gatepost.model import Secret

# In ASCII, as Mailgun shows it. It is a part of the path of each request.
_DOMAIN = re.compile(r"(?=.{4,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[plugins.NAME]`` table with ``use = "mailgun"``."""

    api_key: Annotated[Secret, Meta(description="a sending key of the domain, or an API key of the account")]
    domain: Annotated[str, Meta(description="the sending domain", examples=["mg.brand.example"])]
    webhook_signing_key: Annotated[
        Secret | None,
        Meta(description="the account's HTTP webhook signing key; without it no reports are accepted"),
    ] = None
    base_url: Annotated[
        str, Meta(description="the URL of the API; https://api.eu.mailgun.net for a domain in the EU region")
    ] = "https://api.mailgun.net"
    connection: wire.ConnectionSetting = None
    open_tracking: Annotated[
        bool | None, Meta(description="whether a pixel tells of opens; left out: as the domain is set")
    ] = None
    click_tracking: Annotated[
        bool | None,
        Meta(description="whether links in the HTML tell of clicks; left out: as the domain is set"),
    ] = None
    count_machine_opens: Annotated[
        bool, Meta(description="whether an open counts in which Mailgun detected a machine")
    ] = False


def check(settings: Settings) -> Iterator[Fault]:
    """Yield every fault that the types can't express, and that no other module finds."""
    yield from wire.key_faults(api_key=settings.api_key, webhook_signing_key=settings.webhook_signing_key)
    if not _DOMAIN.fullmatch(settings.domain):
        yield Fault(
            "domain", "must be the domain alone, in lower case, as Mailgun shows it: mg.brand.example"
        )
