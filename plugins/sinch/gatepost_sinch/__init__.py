"""Gatepost's plugin for text messages through Sinch's SMS API."""

from gatepost_sinch.plugin import Sinch
from gatepost_sinch.settings import Settings

__all__ = ["Settings", "Sinch"]
