"""The report of a conformance run: as JSON, and as a badge for a README; and the level that it proves.

A plugin that ships its report as ``conformance.json`` in its package shows its level in ``gatepost plugins``.
"""

from collections.abc import Sequence
from enum import StrEnum
from html import escape
from importlib.metadata import Distribution

import msgspec

from gatepost.hookspecs import API_VERSION
from gatepost.testing.conformance.registry import Group
from gatepost.testing.conformance.runner import CaseOutcome
from gatepost.testing.features import FailureMode

MAPPED_FAILURES = frozenset(
    {FailureMode.REFUSE, FailureMode.THROTTLE, FailureMode.OUTAGE, FailureMode.DENY, FailureMode.LOSE}
)
"""What a provider answers or does that a plugin for silver must have been seen to translate."""


class Level(StrEnum):
    """How much of a plugin was proved."""

    NONE = "none"
    BRONZE = "bronze"
    """Nothing fails: the plugin keeps the contract where it was checked."""
    SILVER = "silver"
    """Every hook was checked on an emulated provider; refusals, errors and reports are translated."""
    GOLD = "gold"
    """Silver, and: sent through the real provider, an emulator that others can import, and a page of documentation."""


class CheckRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one check."""

    id: str
    outcome: CaseOutcome
    problem: str = ""
    cause: str = ""
    """The check to mend first, where this one could not be judged."""


class LiveRecord(msgspec.Struct, frozen=True):
    """What became of a run against the real provider. It holds no address and no number."""

    date: str
    """The day, as 2026-11-27 (UTC)."""
    pinged: bool
    """Whether the provider answered a ping; True also for a plugin without a ping."""
    sent: int
    """The messages that the provider took."""
    failed: int
    """The messages that it did not take."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a conformance run of one plugin."""

    plugin: str
    """The name that ``use`` gives it."""
    distribution: str
    version: str
    kit: int = API_VERSION
    """The number of the plugin contract that the checks are for."""
    hooks: Sequence[str]
    """The hooks that the plugin implements."""
    declared: Sequence[str]
    """What the emulator declares: failures, parts of messages, properties of reports."""
    documentation: str = ""
    """The URL of its documentation, from the metadata of its distribution."""
    checks: Sequence[CheckRecord]
    live: LiveRecord | None = None

    @property
    def failed(self) -> Sequence[CheckRecord]:
        """The checks that failed, the ones to mend first."""
        return [one for one in self.checks if one.outcome is CaseOutcome.FAILED]

    @property
    def level(self) -> Level:
        """The level that this report proves."""
        return next((level for level in reversed(Level) if not self.missing(level)), Level.NONE)

    @property
    def next_level(self) -> Level | None:
        """The lowest level that it does not prove; None for gold."""
        return next((level for level in Level if self.missing(level)), None)

    def missing(self, level: Level) -> Sequence[str]:
        """Return what a level still wants, in words; empty where the level is reached."""
        levels = list(Level)
        wanted = {
            Level.NONE: [],
            Level.BRONZE: self._missing_for_bronze(),
            Level.SILVER: self._missing_for_silver(),
            Level.GOLD: self._missing_for_gold(),
        }
        return [text for one in levels[: levels.index(level) + 1] for text in wanted[one]]

    def _missing_for_bronze(self) -> list[str]:
        return [f"{one.id} fails" for one in self.failed]

    def _missing_for_silver(self) -> list[str]:
        sends = any(hook.startswith("send_") for hook in self.hooks)
        found = [
            f"its emulator can't show: {mode}"
            for mode in sorted(MAPPED_FAILURES if sends else ())
            if str(mode) not in self.declared
        ]
        if "parse_webhook" in self.hooks and not any(
            one.id.startswith(Group.WEBHOOKS) for one in self.checks
        ):
            found.append("its reports were not checked")
        return found

    def _missing_for_gold(self) -> list[str]:
        found = []
        if self.live is None or not self.live.pinged or self.live.failed or not self.live.sent:
            found.append("no good run against the real provider (--live --send)")
        if not self.documentation:
            found.append("no URL named Documentation in the metadata of its distribution")
        return found


def documentation_url(distribution: Distribution | None) -> str:
    """Return the URL that a distribution calls its documentation; empty where it names none."""
    urls = (distribution.metadata.get_all("Project-URL") or []) if distribution else []
    found = [
        url.strip()
        for label, _, url in (one.partition(",") for one in urls)
        if label.lower() == "documentation"
    ]
    return found[0] if found else ""


def encode(report: Report) -> bytes:
    """Return the report as JSON, with its level: where every check passed, the same bytes on every machine."""
    fields = {**msgspec.to_builtins(report), "level": str(report.level)}
    return msgspec.json.format(msgspec.json.encode(fields), indent=1) + b"\n"


_COLORS = {Level.NONE: "#9f9f9f", Level.BRONZE: "#a9672d", Level.SILVER: "#6f7c85", Level.GOLD: "#b8860b"}

_BADGE = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{label}: {text}">
<title>{label}: {text}</title>
<clipPath id="r"><rect width="{width}" height="20" rx="3"/></clipPath>
<g clip-path="url(#r)">
<rect width="{left}" height="20" fill="#444"/><rect x="{left}" width="{right}" height="20" fill="{color}"/>
</g>
<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
<text x="{left_middle}" y="14">{label}</text><text x="{right_middle}" y="14">{text}</text>
</g>
</svg>
"""


def badge(report: Report) -> str:
    """Return the level as an image in SVG, for a README."""
    label, text = f"gatepost kit {report.kit}", str(report.level)
    left, right = 7 * len(label) + 12, 7 * len(text) + 14
    return _BADGE.format(
        label=escape(label),
        text=escape(text),
        width=left + right,
        left=left,
        right=right,
        left_middle=left / 2,
        right_middle=left + right / 2,
        color=_COLORS[report.level],
    )
