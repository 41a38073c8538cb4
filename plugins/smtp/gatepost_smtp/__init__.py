"""Gatepost's plugin for email through an SMTP relay, with bounce and complaint reports."""

from gatepost_smtp.plugin import SmtpRelay
from gatepost_smtp.settings import Settings

__all__ = ["Settings", "SmtpRelay"]
