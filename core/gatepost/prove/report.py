"""The report of a proof, as a struct whose JSON is stable."""

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from gatepost.prove.memory import MemorySearch
from gatepost.prove.outcomes import Exercised, NotExercised
from gatepost.prove.plants import Plant

FORMAT = 1
"""The number of the JSON's form; it is raised when a program that reads it would no longer work."""


class Verdict(StrEnum):
    """What the proof says."""

    CLEAN = "clean"
    """Nothing was found, and every planted leak was."""
    LEAK = "leak"
    """A canary or a secret was found."""
    BLIND = "blind"
    """A planted leak was not found: the search proves nothing."""
    INCOMPLETE = "incomplete"
    """No message was accepted at all: nothing was proved."""


class Finding(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A canary that was found. It says where and how, and never what stands around it."""

    rehearsal: str
    place: str
    name: str
    """Which one of its kind, such as a file's name."""
    value: str
    """Which part of which canary, or which secret."""
    spelling: str


class PluginRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A sending instance, and what stood in the place of its provider."""

    instance: str
    plugin: str
    version: str
    """Of the plugin's distribution; empty where it is unknown."""
    stood_for_by: str


class Searched(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of place, and how much of it was searched."""

    rehearsal: str
    place: str
    names: Sequence[str]
    bytes: int


class RehearsalRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One rehearsal."""

    name: str
    title: str
    requests: int
    callbacks: int
    exercised: Sequence[Exercised]
    not_exercised: Sequence[NotExercised]
    memory: MemorySearch


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """The operator's configuration, with dots in the place of whatever could be a secret."""

    file: str
    sha256: str
    lines: Sequence[str]
    changes: Sequence[str]
    """What differed in the private copy."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole report. It holds no canary."""

    verdict: Verdict
    gatepost: str
    python: str
    system: str
    started: str
    """UTC, as 2026-11-27 10:30:00Z."""
    seconds: float
    network: str
    """Whether the run was cut off from every network."""
    store: str
    """The kind of store: sqlite or postgresql."""
    configuration: Configuration
    plugins: Sequence[PluginRecord]
    people: int
    spellings: int
    """The texts and hashes that were looked for."""
    views: Sequence[str]
    """The ways in which each place was read."""
    hashes: Sequence[str]
    rehearsals: Sequence[RehearsalRecord]
    searched: Sequence[Searched]
    plants: Sequence[Plant]
    findings: Sequence[Finding]

    @property
    def bytes(self) -> int:
        """The bytes that were searched."""
        return sum(one.bytes for one in self.searched)


def encode(report: Report) -> bytes:
    """Return the report as JSON, with the number of its form."""
    fields = {"format": FORMAT, **msgspec.to_builtins(report)}
    return msgspec.json.format(msgspec.json.encode(fields), indent=1) + b"\n"


def verdict(findings: Sequence[Finding], plants: Sequence[Plant], sent: int) -> Verdict:
    """Return the verdict. A leak is one even where the search is known to be blind elsewhere."""
    if findings:
        return Verdict.LEAK
    if not plants or not all(one.found for one in plants):
        return Verdict.BLIND
    return Verdict.CLEAN if sent else Verdict.INCOMPLETE
