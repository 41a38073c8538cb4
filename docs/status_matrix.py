"""Write the matrix of statuses by provider into docs/reference/statuses.md: `make reference`.

Its rows are the plugins whose README has the section "What it can and cannot report", and its cells the column *reported*
of that section's table. The text between `<!-- statuses -->` and `<!-- /statuses -->` is generated.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

REPO = Path(__file__).parents[1]
PAGE = REPO / "docs" / "reference" / "statuses.md"

STATUSES = ("accepted", "delivered", "failed", "rejected", "complained", "opened", "unsubscribed")
MAX_CELL = 60
"""Characters of a cell. What needs more belongs in the README."""

_PART = re.compile(r"(<!-- statuses -->\n).*?(<!-- /statuses -->)", re.DOTALL)
_SECTION = re.compile(r"^## What it can and cannot report\n(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)
_ROW = re.compile(r"^\| `(\w+)` \| (.+?) \|", re.MULTILINE)


def rows() -> Mapping[str, Mapping[str, str]]:
    """Return what each plugin reports, by status, those that report most first.

    Raises ValueError for a table without exactly the seven statuses in order, or with a long cell.
    """
    found = {file.parent.name: _row(file) for file in sorted(REPO.glob("plugins/*/README.md"))}
    reporting = {name: row for name, row in found.items() if row}
    return dict(sorted(reporting.items(), key=lambda one: list(one[1].values()).count("never")))


def _row(readme: Path) -> Mapping[str, str]:
    section = _SECTION.search(readme.read_text("utf-8"))
    if section is None:
        return {}
    row = dict(_ROW.findall(section[1]))
    if tuple(row) != STATUSES:
        raise ValueError(f"{readme}: the table of statuses must have a row for each of {', '.join(STATUSES)}")
    if too_long := [status for status, cell in row.items() if len(cell) > MAX_CELL]:
        raise ValueError(f"{readme}: what is reported of {too_long[0]} has more than {MAX_CELL} characters")
    return row


def generate(text: str) -> str:
    """Return the page with the matrix as the READMEs have it now."""
    table = "\n".join(_table())
    return _PART.sub(lambda part: f"{part[1]}{table}\n{part[2]}", text)


def _table() -> Iterator[str]:
    yield f"| provider | {' | '.join(f'`{status}`' for status in STATUSES)} |"
    yield f"|{' --- |' * (len(STATUSES) + 1)}"
    for name, row in rows().items():
        yield f"| [{name}](../how-to/providers/{name}.md) | {' | '.join(row.values())} |"


def main() -> None:
    """Write the page anew."""
    PAGE.write_text(generate(PAGE.read_text("utf-8")), "utf-8")
    sys.stdout.write(f"{PAGE.relative_to(REPO)}\n")


if __name__ == "__main__":
    main()
