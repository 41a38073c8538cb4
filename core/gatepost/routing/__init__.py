"""Routing: which rule of a channel takes a message, and which of its instances sends it."""
