"""An emulated Brevo, one class for each channel: as strict about a request as the vendor's documentation.

::

    async with BrevoEmulator() as brevo:
        settings = brevo.table
"""

from gatepost_brevo.testing.emulator import BrevoEmulator
from gatepost_brevo.testing.text_emulator import BrevoSmsEmulator

__all__ = ["BrevoEmulator", "BrevoSmsEmulator"]
