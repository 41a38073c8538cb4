"""Gatepost: sends what Smartico asks for, to people whom Smartico knows only by an id."""

from importlib.metadata import version

__version__ = version("gatepost")
