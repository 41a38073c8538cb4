"""Gatepost's plugin for SMS over SMPP 3.4."""
