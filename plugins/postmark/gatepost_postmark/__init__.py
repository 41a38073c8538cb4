"""Gatepost's plugin for email through Postmark: its Email API, and webhooks with a user name and a password."""

from gatepost_postmark.plugin import Postmark
from gatepost_postmark.settings import Settings

__all__ = ["Postmark", "Settings"]
