"""An emulated Vonage: as strict about a message of each channel as the vendor, with really signed webhooks.

::

    async with VonageEmulator() as vonage:
        settings = {
            "application_id": vonage.application_id,
            "private_key": vonage.private_key,
            "signature_secret": vonage.signature_secret,
            "base_url": vonage.base_url,
        }
"""

from gatepost_vonage.testing.emulator import VonageEmulator

__all__ = ["VonageEmulator"]
