"""A relay on this machine, for the conformance kit."""

from gatepost_smtp.testing.relay import EmulatedRelay

__all__ = ["EmulatedRelay"]
