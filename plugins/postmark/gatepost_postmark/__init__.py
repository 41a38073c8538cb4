"""Gatepost's plugin for email through Postmark."""
