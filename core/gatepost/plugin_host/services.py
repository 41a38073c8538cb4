"""What the core does for an instance while the gateway runs: the functions behind its Context."""

from typing import Protocol, TypeVar

import msgspec

from gatepost.context import ContactsState
from gatepost.errors import Unavailable
from gatepost.model import Report
from gatepost.outbox import Outbox
from gatepost.plugin_host import sanitize
from gatepost.plugin_host.stored_state import StoredState

T = TypeVar("T")

MAX_WARNINGS = 50
"""Warnings of one instance, and as many confirmations and pieces of advice; further ones are dropped. A last warning says so
of warnings."""


class ReportRecorder(Protocol):
    """The part of a running gateway that records reports."""

    async def record(self, name: str, report: Report) -> int:
        """Record what the instance of this name reports by itself; return how many events are of no known message.

        Raises Unavailable, and TypeError for no Report.
        """
        ...


class InstanceServices:
    """The functions of one instance's Context, which is built before the store is open.

    They raise Unavailable before ``start`` and after ``stop``.
    """

    def __init__(self, name: str) -> None:
        """Take the name of the instance."""
        self._name = name
        self._reports: ReportRecorder | None = None
        self._outbox: Outbox | None = None
        self.state = StoredState(name, lambda: _running(self._outbox))
        """The functions of ``Context.state`` and ``Context.lease``."""
        self.warnings: dict[tuple[str, str], None] = {}
        """What the plugin warns of: the path of a key and the problem, each once and in order."""
        self.confirmations: dict[str, None] = {}
        """What its ping has found in order, each text once and in order."""
        self.advice: dict[str, None] = {}
        """What only the operator can find out, in the same form."""
        self.contacts: ContactsState | None = None
        """What the source has last said of its contacts."""
        self.has_said_age = False
        """Whether the source has ever said how old its data are."""

    def start(self, reports: ReportRecorder, outbox: Outbox) -> None:
        """Serve the instance from now on."""
        self._reports, self._outbox = reports, outbox

    def stop(self) -> None:
        """Serve the instance no longer."""
        self._reports = self._outbox = None

    def warn(self, key: str, problem: str) -> None:
        """Note a warning, as ``Context.warn`` promises. Never raises: a bad warning must not stop the gateway."""
        text = sanitize.clean_warning(problem) or "the plugin warns without a text: report this to its author"
        name = sanitize.clean_warning(key)
        path = f"plugins.{self._name}"
        warning = f"{path}.{name}" if name else path, text
        if len(self.warnings) < MAX_WARNINGS:
            self.warnings[warning] = None
        elif warning not in self.warnings:
            self.warnings[path, "has more warnings than these: correct what they name, and check again"] = (
                None
            )

    def confirm(self, text: str) -> None:
        """Note what is in order, as ``Context.confirm`` promises. Never raises; drops what is no text."""
        _add(self.confirmations, text)

    def advise(self, text: str) -> None:
        """Note what the operator must find out, as ``Context.advise`` promises. Never raises; drops what is no text."""
        _add(self.advice, text)

    def describe_contacts(self, state: ContactsState) -> None:
        """Note what the source says of its contacts, as ``Context.describe_contacts`` promises."""
        if not isinstance(state, ContactsState):
            raise TypeError(f"describe_contacts takes a ContactsState, not {sanitize.type_name(state)}")
        try:
            valid = msgspec.convert(msgspec.structs.asdict(state), ContactsState)
        except msgspec.ValidationError as error:
            raise TypeError(f"this ContactsState is not valid: {error}") from None
        problem = sanitize.clean_text(valid.problem, sanitize.MAX_WARNING_LENGTH)
        self.contacts = msgspec.structs.replace(valid, problem=problem)
        self.has_said_age = self.has_said_age or valid.as_of is not None

    async def report(self, report: Report) -> int:
        """Record a report, as ``Context.report`` promises."""
        return await _running(self._reports).record(self._name, report)


def _add(texts: dict[str, None], text: str) -> None:
    clean = sanitize.clean_warning(text)
    if clean and len(texts) < MAX_WARNINGS:
        texts[clean] = None


def _running(service: T | None) -> T:
    if service is None:
        raise Unavailable("the gateway is not running")
    return service
