"""Gatepost's plugin for SMS and WhatsApp through Twilio."""
