"""An emulated Sinch: as strict about a batch as the vendor's documentation, with really signed callbacks.

::

    async with SinchEmulator() as sinch:
        settings = sinch.table
"""

from gatepost_sinch.testing.emulator import SinchEmulator

__all__ = ["SinchEmulator"]
