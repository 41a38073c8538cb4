"""Gatepost's plugin for email through Amazon SES (v2), with signed reports through Amazon SNS."""

from gatepost_ses.plugin import Ses
from gatepost_ses.settings import Settings

__all__ = ["Ses", "Settings"]
