"""Every check, by its id."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from enum import StrEnum
from importlib import import_module

import msgspec

from gatepost.testing.conformance.bench import Bench
from gatepost.testing.conformance.provider import Form, Trouble

Run = Callable[[Bench], Awaitable[None]]


class Group(StrEnum):
    """What a check is about; the first word of its id. Those of ``send`` run once a channel."""

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
    """One line: what the plugin does that passes."""
    needs: frozenset[Trouble | Form]
    """What must have been declared; without it the check is not run, and the report says so."""
    unattended: bool
    """Whether it needs no stand-in and disturbs nobody: ``gatepost check --plugin`` runs it."""
    run: Run
    """Raises AssertionError, with a text for the author, when the plugin fails."""


_checks: dict[str, Check] = {}


def check(
    group: Group, *needs: Trouble | Form, name: str = "", unattended: bool = False
) -> Callable[[Run], Run]:
    """Enter a function into the registry, under its own name; its docstring is the summary."""

    def enter(run: Run) -> Run:
        own = name or getattr(run, "__name__", "")
        summary = " ".join((run.__doc__ or "").split())
        found = Check(f"{group}.{own}", group, summary, frozenset(needs), unattended, run)
        if found.id in _checks:
            raise ValueError(f"two checks are called {found.id}")
        _checks[found.id] = found
        return run

    return enter


_MODULES = (
    "plugin_checks",
    "lifespan_checks",
    "send_checks",
    "trouble_checks",
    "release_checks",
    "contact_checks",
    "webhook_checks",
    "signature_checks",
)


def checks() -> Mapping[str, Check]:
    """All of them, by id."""
    for module in _MODULES:
        import_module(f"gatepost.testing.conformance.{module}")
    return _checks


def of(groups: Collection[Group]) -> list[Check]:
    """The checks of these groups."""
    return [one for one in checks().values() if one.group in groups]
