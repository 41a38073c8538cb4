"""What the operator says about an instance, and what of it can't be used."""

from collections.abc import Iterator

import msgspec

from gatepost import wire
from gatepost.errors import ConfigError, Fault
from gatepost.model import Secret
from gatepost_vonage.addressing import SENDER_FORM, sender_id


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One ``[plugins.NAME]`` table with ``use = "vonage"``."""

    application_id: str
    """The id of the Vonage application, as the dashboard shows it."""
    private_key: Secret
    """The application's private key: the whole PEM file, usually ``file:/run/secrets/vonage.pem``."""
    signature_secret: Secret | None = None
    """The account's signature secret, for status webhooks; without it the instance takes none."""
    default_sender: str = ""
    """Who a message is from when Smartico names nobody: up to 11 of A-Z a-z 0-9, or up to 15 digits."""
    base_url: str = "https://api.nexmo.com"
    """Where Vonage's API is."""


def check(settings: Settings) -> None:
    """Raise ConfigError with everything that the types of the settings can't express.

    The private key is not looked at: that takes cryptography, see ``tokens``.
    """
    faults = list(_faults(settings))
    if faults:
        raise ConfigError(faults)


def _faults(settings: Settings) -> Iterator[Fault]:
    if not settings.application_id.strip():
        yield Fault("application_id", "is empty: take the application's id from the Vonage dashboard")
    if settings.signature_secret is not None and not settings.signature_secret:
        # Anybody can sign with an empty secret.
        yield Fault("signature_secret", "is empty: leave it out to take no status webhooks")
    if settings.default_sender and sender_id(settings.default_sender) is None:
        yield Fault("default_sender", f"must be {SENDER_FORM}")
    try:
        wire.check_base_url(settings.base_url)
    except ConfigError as error:
        yield from error.faults
