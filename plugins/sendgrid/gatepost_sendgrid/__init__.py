"""Email through SendGrid: its v3 Mail Send to send, its signed Event Webhook to hear what became of it."""

from gatepost_sendgrid.plugin import SendGrid, Settings

__all__ = ["SendGrid", "Settings"]
