"""Gatepost plugin for Example."""

from gatepost_example.plugin import Example
from gatepost_example.settings import Settings

__all__ = ["Example", "Settings"]
