"""Gatepost's plugin for email through SendGrid: v3 Mail Send, and the signed Event Webhook."""

from gatepost_sendgrid.plugin import SendGrid
from gatepost_sendgrid.settings import Settings

__all__ = ["SendGrid", "Settings"]
