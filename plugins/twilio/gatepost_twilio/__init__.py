"""Gatepost's plugin for SMS and WhatsApp through Twilio."""

from gatepost_twilio.plugin import Twilio
from gatepost_twilio.settings import Settings

__all__ = ["Settings", "Twilio"]
