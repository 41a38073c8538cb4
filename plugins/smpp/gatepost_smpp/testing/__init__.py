"""An emulated message centre on this machine."""

from gatepost_smpp.testing.emulator import SmppEmulator
from gatepost_smpp.testing.submissions import Submission

__all__ = ["SmppEmulator", "Submission"]
