"""An emulated Postmark: as strict about a mail as the vendor, with webhooks that sign in.

::

    async with PostmarkEmulator() as postmark:
        settings = {
            "server_token": postmark.server_token,
            "base_url": postmark.base_url,
            "webhook_basic": {"username": postmark.username, "password": postmark.password},
        }
"""

from gatepost_postmark.testing.emulator import PostmarkEmulator

__all__ = ["PostmarkEmulator"]
