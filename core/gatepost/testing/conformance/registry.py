"""The registry of all checks."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from importlib import import_module

import msgspec

from gatepost.model import Channel
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.features import Need

Run = Callable[[Harness], Awaitable[None]]


class Group(StrEnum):
    """What a check is about; the first word of its id. The checks of ``send`` run once for each channel."""

    PLUGIN = "plugin"
    SETTINGS = "settings"
    LIFESPAN = "lifespan"
    PING = "ping"
    CONTACTS = "contacts"
    BATCH = "batch"
    USERS = "users"
    SEND = "send"
    WEBHOOKS = "webhooks"
    POLLING = "polling"


_SENDING = (Group.SEND, Group.POLLING)

GROUPS: Mapping[str, Sequence[Group]] = {
    "lifespan": (Group.LIFESPAN,),
    "ping": (Group.PING,),
    "find_contact": (Group.CONTACTS,),
    "find_contacts": (Group.BATCH,),
    "find_user": (Group.USERS,),
    "send_email": _SENDING,
    "send_sms": _SENDING,
    "parse_webhook": (Group.WEBHOOKS,),
}
"""The groups of checks for each hook. Those of ``polling`` need ReportFeature.POLLED."""


def groups_of(hooks: Iterable[str]) -> set[Group]:
    """Return the groups of checks for a plugin with these hooks; ``plugin`` and ``settings`` are for every plugin."""
    return {Group.PLUGIN, Group.SETTINGS, *(group for hook in hooks for group in GROUPS[hook])}


_BASES: Mapping[Group, tuple[str, ...]] = {
    Group.PLUGIN: ("plugin.version", "plugin.starts", "plugin.hooks", "plugin.declared_hooks"),
    Group.SETTINGS: (),
    Group.LIFESPAN: (),
    Group.PING: ("ping.success",),
    Group.CONTACTS: ("contacts.known_user",),
    Group.BATCH: ("batch.same_contacts",),
    Group.USERS: ("users.known_recipients",),
    Group.SEND: ("send.success",),
    Group.WEBHOOKS: ("send.success", "webhooks.genuine"),
    Group.POLLING: ("send.success", "polling.reports"),
}
"""The checks without which those of a group can't be judged, besides those of the group ``plugin``."""


class Check(msgspec.Struct, frozen=True):
    """One thing that a plugin must do."""

    id: str
    """``group.name``."""
    group: Group
    summary: str
    """One line: what a plugin that passes does."""
    advice: str
    """What to do in a plugin that fails."""
    needs: frozenset[Need]
    """What the suite must declare; otherwise the check is not run, and the report says so."""
    needs_any: frozenset[Need]
    """Of these the suite must declare one; empty where it need not."""
    after: tuple[str, ...]
    """The ids of checks that this one builds on, in order: where one of them fails, this one can't be judged."""
    standalone: bool
    """Whether it needs no emulated provider, so that it can be run on any plugin as it is configured."""
    run: Run
    """Raises AssertionError, with a text for the plugin's author, where the plugin fails. Call it by ``runner``, which
    survives whatever a plugin raises."""

    @property
    def lesson(self) -> str:
        """Return what was expected of a plugin that fails, and what to do, for the lines after the problem."""
        return f"{self.summary} {self.advice}"

    def can_run(self, declared: Collection[Need]) -> bool:
        """Return whether enough is declared to run the check."""
        return self.needs <= set(declared) and (not self.needs_any or bool(self.needs_any & set(declared)))


class Case(msgspec.Struct, frozen=True):
    """One check as it is run: those of sending once for each channel."""

    check: Check
    channel: Channel | None = None

    @property
    def id(self) -> str:
        """Return the id of the check, followed by the channel where it has one: ``send.refused-sms``."""
        return f"{self.check.id}-{self.channel}" if self.channel else self.check.id


_checks: dict[str, Check] = {}


def check(
    group: Group,
    *needs: Need,
    needs_any: tuple[Need, ...] = (),
    standalone: bool = False,
    after: tuple[str, ...] = (),
) -> Callable[[Run], Run]:
    """Add a function to the registry, under its own name.

    The first paragraph of its docstring is the summary, and the second the advice. ``after`` are checks that it builds
    on besides those that its whole group builds on.
    """

    def register(run: Run) -> Run:
        own = f"{group}.{getattr(run, '__name__', '')}"
        summary, _, advice = (" ".join(part.split()) for part in (run.__doc__ or "").partition("\n\n"))
        if not advice:
            raise ValueError(f"{own} has no advice: say in a second paragraph of its docstring what to do")
        found = Check(
            id=own,
            group=group,
            summary=summary,
            advice=advice,
            needs=frozenset(needs),
            needs_any=frozenset(needs_any),
            after=_after(own, group, after),
            standalone=standalone,
            run=run,
        )
        if found.id in _checks:
            raise ValueError(f"two checks are called {found.id}")
        _checks[found.id] = found
        return run

    return register


def _after(own: str, group: Group, after: tuple[str, ...]) -> tuple[str, ...]:
    everything = (*_BASES[Group.PLUGIN], *_BASES[group], *after)
    return everything[: everything.index(own)] if own in everything else everything


_MODULES = (
    "plugin_checks",
    "process_checks",
    "settings_checks",
    "lifespan_checks",
    "ping_checks",
    "contact_checks",
    "contact_failure_checks",
    "batch_checks",
    "user_checks",
    "send_checks",
    "content_checks",
    "cost_checks",
    "failure_checks",
    "cancellation_checks",
    "leak_checks",
    "webhook_checks",
    "hostile_webhook_checks",
    "signature_checks",
    "comparison_checks",
    "poll_checks",
)


def checks() -> Mapping[str, Check]:
    """Return all checks, by id; a check comes after those that it builds on."""
    for module in _MODULES:
        import_module(f"gatepost.testing.conformance.{module}")
    return _checks


def checks_of(groups: Collection[Group]) -> list[Check]:
    """Return the checks of these groups."""
    return [one for one in checks().values() if one.group in groups]


def cases(
    groups: Collection[Group], channels: Collection[Channel], declared: Collection[Need]
) -> dict[str, Case]:
    """Return the cases of these groups that need nothing but what is declared, by id."""
    found = [
        Case(one, channel)
        for one in checks_of(groups)
        if one.can_run(declared)
        for channel in (sorted(channels) if one.group is Group.SEND else (None,))
    ]
    return {case.id: case for case in found}
