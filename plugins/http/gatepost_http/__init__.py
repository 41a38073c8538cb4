"""Gatepost's plugin for any HTTP messaging API that one TOML table can describe."""

from gatepost_http.plugin import Http
from gatepost_http.settings import Settings

__all__ = ["Http", "Settings"]
