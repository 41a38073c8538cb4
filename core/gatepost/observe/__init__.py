"""Logs, metrics, and what keeps private values out of them."""
