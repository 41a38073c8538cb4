"""A contact source for Gatepost: the users stand in a CSV file that the operator exports."""

from gatepost_csv.source import CsvSource, Settings

__all__ = ["CsvSource", "Settings"]
