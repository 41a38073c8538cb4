"""The registry of all checks."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from enum import StrEnum
from importlib import import_module

import msgspec

from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.provider import ContactFeature, FailureMode, ReportFeature

Need = FailureMode | ReportFeature | ContactFeature
Run = Callable[[Harness], Awaitable[None]]


class Group(StrEnum):
    """What a check is about; the first word of its id. The checks of ``send`` run once for each channel."""

    PLUGIN = "plugin"
    SETTINGS = "settings"
    LIFESPAN = "lifespan"
    PING = "ping"
    CONTACTS = "contacts"
    SEND = "send"
    WEBHOOKS = "webhooks"


class Check(msgspec.Struct, frozen=True):
    """One thing that a plugin must do."""

    id: str
    """``group.name``."""
    group: Group
    summary: str
    """One line: what a plugin that passes does."""
    needs: frozenset[Need]
    """What the suite must declare; otherwise the check is not run, and the report says so."""
    standalone: bool
    """Whether it needs no emulated provider, so that ``gatepost check --plugin`` runs it."""
    run: Run
    """Raises AssertionError, with a text for the plugin's author, where the plugin fails."""


_checks: dict[str, Check] = {}


def check(group: Group, *needs: Need, name: str = "", standalone: bool = False) -> Callable[[Run], Run]:
    """Add a function to the registry, under its own name; its docstring is the summary."""

    def register(run: Run) -> Run:
        own = name or getattr(run, "__name__", "")
        summary = " ".join((run.__doc__ or "").split())
        found = Check(f"{group}.{own}", group, summary, frozenset(needs), standalone, run)
        if found.id in _checks:
            raise ValueError(f"two checks are called {found.id}")
        _checks[found.id] = found
        return run

    return register


_MODULES = (
    "plugin_checks",
    "lifespan_checks",
    "send_checks",
    "failure_checks",
    "cancellation_checks",
    "contact_checks",
    "webhook_checks",
    "signature_checks",
)


def checks() -> Mapping[str, Check]:
    """Return all checks, by id."""
    for module in _MODULES:
        import_module(f"gatepost.testing.conformance.{module}")
    return _checks


def checks_of(groups: Collection[Group]) -> list[Check]:
    """Return the checks of these groups."""
    return [one for one in checks().values() if one.group in groups]
