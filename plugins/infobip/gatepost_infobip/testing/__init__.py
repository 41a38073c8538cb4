"""An emulated Infobip: its SMS, Viber and WhatsApp APIs, as strict as its specification, and what they report.

::

    async with InfobipEmulator() as infobip:
        settings = dict(infobip.table)  # for SMS; infobip.table_of("viber") for another channel
"""

from gatepost_infobip.testing.emulator import InfobipEmulator

__all__ = ["InfobipEmulator"]
