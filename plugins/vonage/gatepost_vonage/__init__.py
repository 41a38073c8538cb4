"""Gatepost's plugin for text messages through Vonage's Messages API."""

from gatepost_vonage.plugin import Vonage
from gatepost_vonage.settings import Settings

__all__ = ["Settings", "Vonage"]
