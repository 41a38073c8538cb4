"""Gatepost's plugin for SMS, Viber and WhatsApp through Vonage's Messages API."""

from gatepost_vonage.plugin import Vonage
from gatepost_vonage.settings import Settings

__all__ = ["Settings", "Vonage"]
