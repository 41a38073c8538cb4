"""The settings of a Sinch instance: one service plan of the SMS API."""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from gatepost import wire
from gatepost.errors import Fault
from gatepost.model import Secret
from gatepost_sinch.batches import SENDER, SENDER_FORM


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[plugins.NAME]`` table with ``use = "sinch"``."""

    service_plan_id: Annotated[
        str, msgspec.Meta(description="the service plan's id, as Sinch's dashboard shows it")
    ]
    api_token: Annotated[Secret, msgspec.Meta(description="the service plan's API token")]
    region: Annotated[
        Literal["us", "eu", "au", "br", "ca"], msgspec.Meta(description="where the service plan is hosted")
    ] = "us"
    default_sender: Annotated[
        str,
        msgspec.Meta(description="the sender if Smartico sends none; without it Sinch chooses, if it can"),
    ] = ""
    webhook_secret: Annotated[
        Secret | None,
        msgspec.Meta(
            description="the secret that Sinch signs reports with; without it or webhook_basic none are accepted"
        ),
    ] = None
    webhook_basic: Annotated[
        wire.Login | None,
        msgspec.Meta(
            description="the user name and password that Sinch sends with its reports, instead of a signature",
            examples=[{"username": "sinch", "password": "env:SINCH_WEBHOOK_PASSWORD"}],
        ),
    ] = None
    base_url: Annotated[str, msgspec.Meta(description="the URL of the API, instead of the region's")] = ""
    connection: wire.ConnectionSetting = None

    @property
    def url(self) -> str:
        """The URL that every request begins with."""
        return self.base_url or f"https://{self.region}.sms.api.sinch.com"


def check(settings: Settings) -> Iterator[Fault]:
    """Yield every fault that the types can't express, and that no other module finds."""
    if not (settings.service_plan_id.isascii() and settings.service_plan_id.replace("-", "").isalnum()):
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
