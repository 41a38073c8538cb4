"""Gatepost's plugin for SMS through Sinch."""
