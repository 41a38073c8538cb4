"""Gatepost's contact source for a CSV file that the operator exports."""

from gatepost_csv.plugin import CsvSource
from gatepost_csv.settings import Settings

__all__ = ["CsvSource", "Settings"]
