"""The settings of a Vonage instance."""

from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from gatepost import wire
from gatepost.errors import ConfigError, Fault
from gatepost.model import Secret
from gatepost_vonage.addresses import SENDER_FORM, sender_id


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[plugins.NAME]`` table with ``use = "vonage"``."""

    application_id: Annotated[
        str, Meta(description="the id of the Vonage application, as the dashboard shows it")
    ]
    private_key: Annotated[
        Secret,
        Meta(
            description="the application's private key: the whole PEM file, usually "
            "file:/run/secrets/vonage.pem",
            examples=["file:/run/secrets/vonage.pem"],
        ),
    ]
    signature_secret: Annotated[
        Secret | None,
        Meta(
            description="the account's signature secret, which verifies status webhooks; without it none are "
            "accepted"
        ),
    ] = None
    default_sender: Annotated[
        str,
        Meta(
            description="the sender of a message if Smartico sends no from_number: up to 11 of A-Z a-z 0-9, "
            "or up to 15 digits"
        ),
    ] = ""
    base_url: Annotated[str, Meta(description="the URL of Vonage's API")] = "https://api.nexmo.com"


def check(settings: Settings) -> None:
    """Raise ConfigError with every fault that the types can't express.

    The private key is not checked here but in ``tokens``, because that needs cryptography.
    """
    faults = list(_faults(settings))
    if faults:
        raise ConfigError(faults)


def _faults(settings: Settings) -> Iterator[Fault]:
    if not settings.application_id.strip():
        yield Fault("application_id", "is empty: take the application's id from the Vonage dashboard")
    if settings.signature_secret is not None and not settings.signature_secret:
        # Anyone can sign with an empty secret.
        yield Fault("signature_secret", "is empty: leave it out to accept no status webhooks")
    if settings.default_sender and sender_id(settings.default_sender) is None:
        yield Fault("default_sender", f"must be {SENDER_FORM}")
    try:
        wire.check_base_url(settings.base_url)
    except ConfigError as error:
        yield from error.faults
