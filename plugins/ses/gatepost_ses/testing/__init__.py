"""An emulated Amazon SES with its SNS topic: as strict about a mail as AWS, with really signed messages.

::

    async with SesEmulator() as ses:
        settings = {
            "region": ses.region,
            "access_key_id": ses.access_key_id,
            "secret_access_key": ses.secret_access_key,
            "topic_arn": ses.topic.arn,
            "base_url": ses.base_url,
            "sns_url": ses.base_url,
        }
"""

from gatepost_ses.testing.emulator import SesEmulator

__all__ = ["SesEmulator"]
