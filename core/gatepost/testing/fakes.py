"""The core's side of a plugin's Context, in memory: what the plugin does with it can be seen.

::

    core = FakeCore()
    plugin = Acme(settings, core.context(timeout=1.0))
    ...
    assert core.reports == [Report(events=[...])]
"""

from pathlib import Path
from typing import Any

import structlog
from structlog.stdlib import BoundLogger
from structlog.testing import LogCapture

from gatepost.errors import Unavailable
from gatepost.hookspecs import ContactsState, Context
from gatepost.model import Report
from gatepost.testing.webhook_requests import WEBHOOK_URL

MAX_KEY_LENGTH = 64
MAX_STATE_LENGTH = 4096


class FakeCore:
    """What an instance sees of the core, with the same limits, and what it has done with it."""

    def __init__(self, log: BoundLogger | None = None) -> None:
        self.reports: list[Report] = []
        """What was passed to ``context.report``, in order."""
        self.values: dict[str, str] = {}
        """The values of ``context.state``, by key."""
        self.leases: dict[str, float] = {}
        """The leases that were taken: the seconds of the last turn, by name."""
        self.lease_calls = 0
        """How often a lease was asked for."""
        self.lease_free = True
        """False: another replica has every lease."""
        self.reachable = True
        """False: the store is away, so that ``report``, ``state`` and ``lease`` raise Unavailable."""
        self.unknown = 0
        """How many events of each report are said to be of no known message."""
        self.refusals = 0
        """How often one of these three has raised Unavailable."""
        self.warnings: list[tuple[str, str]] = []
        """What was passed to ``context.warn``: key and problem."""
        self.confirmations: list[str] = []
        """What was passed to ``context.confirm``, in order."""
        self.advice: list[str] = []
        """What was passed to ``context.advise``, in order."""
        self.described: list[ContactsState] = []
        """What was passed to ``context.describe_contacts``, in order."""
        self.captured = LogCapture()
        self._log = log or structlog.wrap_logger(None, [self.captured], BoundLogger)

    @property
    def logged(self) -> list[Any]:
        """What was logged with ``context.log``: a dict for each line, its message in ``event``."""
        return self.captured.entries

    def context(self, **fields: Any) -> Context:
        """Return a Context of this core; ``fields`` replace those of an ordinary one."""
        values: dict[str, Any] = {
            "name": "conformance",
            "log": self._log,
            "folder": Path(),
            "webhook_url": WEBHOOK_URL,
            "report": self._report,
            "state": self,
            "lease": self._lease,
            "warn": self._warn,
            "confirm": self.confirmations.append,
            "advise": self.advice.append,
            "describe_contacts": self.described.append,
        }
        return Context(**{**values, **fields})

    def _expect_reachable(self) -> None:
        if not self.reachable:
            self.refusals += 1
            raise Unavailable("the store can't be reached")

    async def _report(self, report: Report) -> int:
        self._expect_reachable()
        self.reports.append(report)
        return min(self.unknown, len(report.events))

    async def _lease(self, name: str, seconds: float) -> bool:
        self._expect_reachable()
        if not (0 < len(name) <= MAX_KEY_LENGTH and 1 <= seconds <= 300):
            raise ValueError("a lease has a name of 1 to 64 characters, and is for 1 to 300 seconds")
        self.leases[name] = seconds
        self.lease_calls += 1
        return self.lease_free

    def _warn(self, key: str, problem: str) -> None:
        self.warnings.append((key, problem))

    # PluginState.

    async def read(self, key: str) -> str:
        """Return the value of a key; empty where it has none."""
        self._expect_reachable()
        return self.values.get(key, "")

    async def replace(self, key: str, old: str, new: str) -> bool:
        """Set the value of a key if it is still ``old``; return whether it was."""
        self._expect_reachable()
        values = {**self.values, key: new}
        if len(key) > MAX_KEY_LENGTH or sum(map(len, values.values())) > MAX_STATE_LENGTH:
            raise ValueError("a key has at most 64 characters, and all values together at most 4,096")
        if self.values.get(key, "") != old:
            return False
        self.values = {name: value for name, value in values.items() if value}
        return True
