"""Gatepost plugin for Example."""

from gatepost_example.plugin import Example

__all__ = ["Example"]
