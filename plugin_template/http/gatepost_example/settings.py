"""The settings that an operator writes into ``[plugins.NAME]``."""

from typing import Annotated

import msgspec
from gatepost import wire
from gatepost.model import Secret
from msgspec import Meta

_API = "https://api.example.invalid"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[plugins.NAME]`` table with ``use = "example"``."""

    api_key: Annotated[Secret, Meta(description="the account's API key")]
    base_url: Annotated[str, Meta(description="the URL of the API")] = _API
    connection: wire.ConnectionSetting = None
    # <send>
    webhook_secret: Annotated[
        Secret | None, Meta(description="the secret that signs reports; without it no reports are accepted")
    ] = None
    # </send>
    # <sms>
    default_sender: Annotated[
        str, Meta(description="the sender of a text message if Smartico sends no from_number")
    ] = ""
    # </sms>
