"""Gatepost's plugin for SMTP relays: kept connections out, bounce and complaint reports in."""

from gatepost_smtp.relay import SmtpRelay
from gatepost_smtp.settings import Settings

__all__ = ["Settings", "SmtpRelay"]
