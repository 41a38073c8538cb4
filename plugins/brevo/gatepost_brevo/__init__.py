"""Gatepost's plugin for email and SMS through Brevo."""
