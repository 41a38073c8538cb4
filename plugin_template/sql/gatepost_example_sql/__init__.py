"""Gatepost plugin that finds contacts in a SQL database."""

from gatepost_example_sql.plugin import ExampleSql

__all__ = ["ExampleSql"]
