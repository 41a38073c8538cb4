"""Gatepost's plugin for email through Mailgun."""
