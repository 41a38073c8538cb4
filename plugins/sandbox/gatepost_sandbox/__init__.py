"""Gatepost's provider for trying and testing: it writes each message into a folder, and reports on it."""

from gatepost_sandbox.plugin import Sandbox
from gatepost_sandbox.settings import Settings

__all__ = ["Sandbox", "Settings"]
