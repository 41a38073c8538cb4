"""Gatepost's plugin for email through Mailgun: its Messages API, and webhooks signed in the body."""

from gatepost_mailgun.plugin import Mailgun
from gatepost_mailgun.settings import Settings

__all__ = ["Mailgun", "Settings"]
