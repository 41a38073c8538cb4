"""Gatepost's plugin for email through Amazon SES (v2)."""
