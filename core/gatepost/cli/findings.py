"""The findings of `gatepost check`, and the order in which they are shown."""

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

from gatepost.config.settings import Settings
from gatepost.config.toml_table import closest_name

_SECTIONS = ("", "server", "store", "clients", "contacts", "delivery", "routes", "logs", "alerts", "plugins")
"""The tables of a configuration in their usual order; the first stands for the file as a whole."""

_GRADES = ("good", "note", "fault", "warning")


class Finding(NamedTuple):
    """One finding about a configuration."""

    grade: Literal["good", "note", "warning", "fault"]
    """A note is about what only the operator can find out."""
    key: str
    """The path of a key or of a table; empty for the file as a whole."""
    text: str


def in_order(findings: Sequence[Finding], settings: Settings) -> list[Finding]:
    """Sort findings by table, without those that may only be a consequence of a fault in the same table."""
    names = [
        *(f"clients.{name}" for name in settings.clients),
        *(f"plugins.{name}" for name in settings.plugins),
    ]
    faulty = faulty_tables(findings)

    def position(finding: Finding) -> tuple[int, int, int]:
        table = _table_of(finding)
        section = table.partition(".")[0]
        return (
            _SECTIONS.index(section) if section in _SECTIONS else len(_SECTIONS),
            names.index(table) if table in names else len(names),
            _GRADES.index(finding.grade),
        )

    shown = [one for one in dict.fromkeys(findings) if one.grade == "fault" or _table_of(one) not in faulty]
    return sorted(shown, key=position)


def faulty_tables(findings: Sequence[Finding]) -> Collection[str]:
    """Return the tables with a fault, and those that are probably meant by a table with an unknown name."""
    tables = {_table_of(finding) for finding in findings if finding.grade == "fault"}
    return tables | {closest_name(table, _SECTIONS) for table in tables if table and "." not in table} - {""}


def _table_of(finding: Finding) -> str:
    """Return the path of the table that a finding is about."""
    words = finding.key.split(".")
    return ".".join(words[: 2 if words[0] in {"clients", "plugins"} else 1])
