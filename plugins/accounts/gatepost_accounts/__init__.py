"""Gatepost's contact source for the operator's own account service, which a table describes."""

from gatepost_accounts.plugin import Accounts
from gatepost_accounts.settings import Settings

__all__ = ["Accounts", "Settings"]
