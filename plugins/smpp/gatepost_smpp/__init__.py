"""Gatepost's plugin for SMS over SMPP 3.4."""

from gatepost_smpp.plugin import Smpp
from gatepost_smpp.settings import Settings

__all__ = ["Settings", "Smpp"]
