"""Gatepost plugin for ExampleTcp."""

from gatepost_example_tcp.plugin import ExampleTcp

__all__ = ["ExampleTcp"]
