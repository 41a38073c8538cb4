"""Gatepost's plugin for SMS, Viber and WhatsApp through Infobip."""

from gatepost_infobip.plugin import Infobip
from gatepost_infobip.settings import Settings

__all__ = ["Infobip", "Settings"]
