"""Webhooks and other reports: what a provider says about messages is verified, translated and recorded."""
