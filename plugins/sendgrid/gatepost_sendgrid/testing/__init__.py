"""An emulated SendGrid, for tests and for ``gatepost demo --provider sendgrid``."""

from gatepost_sendgrid.testing.emulator import SendGridEmulator

__all__ = ["SendGridEmulator"]
