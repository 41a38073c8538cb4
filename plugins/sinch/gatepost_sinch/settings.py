"""The settings of a Sinch instance: one service plan of the SMS API."""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gatepost import wire
from gatepost.errors import Fault
from gatepost.model import Secret

SENDER = re.compile(r"\+?[0-9]{1,15}|[A-Za-z0-9][A-Za-z0-9 ]{0,10}")
SENDER_FORM = "a number of up to 15 digits, or up to 11 letters, digits and spaces"
_PLAN = re.compile(r"[A-Za-z0-9_-]+")


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[plugins.NAME]`` table with ``use = "sinch"``."""

    service_plan_id: Annotated[str, Meta(description="the service plan's id, as Sinch's dashboard shows it")]
    api_token: Annotated[Secret, Meta(description="the service plan's API token")]
    region: Annotated[
        Literal["us", "eu", "au", "br", "ca"], Meta(description="where the service plan is hosted")
    ] = "us"
    default_sender: Annotated[
        str, Meta(description="the sender if Smartico sends none; without it Sinch chooses, if it can")
    ] = ""
    webhook_secret: Annotated[
        Secret | None,
        Meta(
            description="the secret that Sinch signs reports with; without it or webhook_basic none are accepted"
        ),
    ] = None
    webhook_basic: Annotated[
        wire.Login | None,
        Meta(
            description="the user name and password that Sinch sends with its reports, instead of a signature",
            examples=[{"username": "sinch", "password": "env:SINCH_WEBHOOK_PASSWORD"}],
        ),
    ] = None
    base_url: Annotated[str, Meta(description="the URL of the API, instead of the region's")] = ""
    connection: wire.ConnectionSetting = None

    @property
    def url(self) -> str:
        """The URL that every request begins with."""
        return self.base_url or f"https://{self.region}.sms.api.sinch.com"


def check(settings: Settings) -> Iterator[Fault]:
    """Yield every fault that the types can't express, and that no other module finds."""
    if not _PLAN.fullmatch(settings.service_plan_id):
        yield Fault("service_plan_id", "must be the id that the dashboard shows: letters and digits")
    yield from wire.key_faults(api_token=settings.api_token)
    if settings.webhook_secret == Secret(""):
        # Anyone can sign with an empty secret.
        yield Fault("webhook_secret", "is empty: leave it out to accept no reports")
    if settings.webhook_basic is not None:
        yield from settings.webhook_basic.faults("webhook_basic")
        if settings.webhook_secret is not None:
            yield Fault("webhook_basic", "can't stand beside webhook_secret: Sinch is set up for one of them")
    if settings.default_sender and not SENDER.fullmatch(settings.default_sender):
        yield Fault("default_sender", f"must be {SENDER_FORM}")
