"""What was found in the DNS, and its lines for the operator: domains of which the same was found share one."""

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

_MAX_NAMED, _MAX_NAMED_WITH_PROBLEM = 3, 20
"""Domains that a line names."""


class Grade(Enum):
    """What the operator has to do: nothing, look somewhere else, or mend the record."""

    GOOD = "good"
    UNKNOWN = "unknown"
    PROBLEM = "problem"


class DnsFinding(NamedTuple):
    """One thing that was found about a domain or an address."""

    topic: str
    """The kind of record, such as SPF."""
    subject: str
    text: str
    """What was found, and what to do. DOMAIN in it stands for the subject."""
    grade: Grade = Grade.PROBLEM


class Line(NamedTuple):
    """A line for the operator."""

    grade: Grade
    text: str


def lines(findings: Sequence[DnsFinding]) -> list[Line]:
    """Return a line for each thing that was found, with those about the same kind of record together."""
    topics = [*dict.fromkeys(finding.topic for finding in findings)]
    subjects: dict[tuple[Grade, str, str], list[str]] = {}
    for finding in sorted(findings, key=lambda one: topics.index(one.topic)):
        subjects.setdefault((finding.grade, finding.topic, finding.text), []).append(finding.subject)
    return [
        Line(grade, f"{topic} of {_listed(own, grade)}: {_filled(text, own)}")
        for (grade, topic, text), own in subjects.items()
    ]


def _listed(subjects: Sequence[str], grade: Grade) -> str:
    limit = _MAX_NAMED_WITH_PROBLEM if grade is Grade.PROBLEM else _MAX_NAMED
    more = len(subjects) - limit
    return ", ".join(subjects[:limit]) + (f" and {more} more" if more > 0 else "")


def _filled(text: str, subjects: Sequence[str]) -> str:
    return text.replace("DOMAIN", subjects[0]) if len(subjects) == 1 else text
