"""Gatepost's plugin for email and text messages through Brevo."""

from gatepost_brevo.plugin import Brevo
from gatepost_brevo.settings import Settings

__all__ = ["Brevo", "Settings"]
