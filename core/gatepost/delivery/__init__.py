"""Delivery: claimed messages are composed, handed to the plugins of a route, and their results recorded."""
