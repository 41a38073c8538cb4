"""An emulated Mailgun: as strict about a form as the vendor, with really signed webhooks.

::

    async with MailgunEmulator() as mailgun:
        settings = {
            "api_key": mailgun.api_key,
            "domain": mailgun.domain,
            "base_url": mailgun.base_url,
            "webhook_signing_key": mailgun.signing_key,
        }
"""

from gatepost_mailgun.testing.emulator import MailgunEmulator

__all__ = ["MailgunEmulator"]
