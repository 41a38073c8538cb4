"""An emulator of Twilio."""

from gatepost_twilio.testing.emulator import TwilioEmulator

__all__ = ["TwilioEmulator"]
