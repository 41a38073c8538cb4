"""Gatepost's contact source for a SQL database of the operator."""

from gatepost_sql.plugin import SqlSource
from gatepost_sql.settings import Settings

__all__ = ["Settings", "SqlSource"]
