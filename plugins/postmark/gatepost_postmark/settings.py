"""The settings of a Postmark instance."""

import re
from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from gatepost import wire
from gatepost.errors import Fault
from gatepost.model import Secret

_STREAM_ID = re.compile(r"[a-z][a-z0-9_-]{0,29}")


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[plugins.NAME]`` table with ``use = "postmark"``."""

    server_token: Annotated[Secret, Meta(description="the API token of a server (not of the account)")]
    message_stream: Annotated[str, Meta(description="the ID of the stream that mails are sent through")] = (
        "outbound"
    )
    webhook_basic: Annotated[
        wire.Login | None,
        Meta(
            description="the user name and password of the webhook; without it no reports are accepted",
            examples=[{"username": "postmark", "password": "env:POSTMARK_WEBHOOK_PASSWORD"}],
        ),
    ] = None
    base_url: Annotated[str, Meta(description="the URL of the API")] = "https://api.postmarkapp.com"
    connection: wire.ConnectionSetting = None
    open_tracking: Annotated[
        bool | None,
        Meta(description="whether a pixel tells of opens; left out: as the server is set"),
    ] = None
    click_tracking: Annotated[
        bool | None,
        Meta(description="whether links in the HTML tell of clicks; left out: as the server is set"),
    ] = None


def check(settings: Settings) -> Iterator[Fault]:
    """Yield every fault that the types can't express, and that no other module finds."""
    yield from wire.key_faults(server_token=settings.server_token)
    if not _STREAM_ID.fullmatch(settings.message_stream):
        yield Fault("message_stream", "must be the ID that the stream's settings show, such as outbound")
    if settings.webhook_basic is not None:
        yield from settings.webhook_basic.faults("webhook_basic")
