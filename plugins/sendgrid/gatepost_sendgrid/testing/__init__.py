"""An emulated SendGrid, for tests and for ``gatepost demo --provider sendgrid``."""

from gatepost_sendgrid.testing.emulator import SendGridEmulator

DEMO_PROVIDER = SendGridEmulator
"""The provider that ``gatepost demo`` starts for this plugin."""

__all__ = ["DEMO_PROVIDER", "SendGridEmulator"]
