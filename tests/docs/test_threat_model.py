"""The threat model names tests, and they exist: a defence whose test is gone is no longer shown."""

import re
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
PAGE = (REPO / "docs/explanation/threat-model.md").read_text()
NAMED = re.findall(r"`((?:tests|plugins)/[\w/.]+)::(\w+)`", PAGE)
TABLES = re.findall(
    r"^## (.+)\n(?:(?!## ).*\n)*?\| .* \| shown by \|\n\|[ -|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE
)


@pytest.mark.parametrize(
    ("file", "name"), [pytest.param(*one, id="::".join(one)) for one in sorted(set(NAMED))]
)
def test_the_test_is_there(file, name):
    assert re.search(rf"^(?:async )?def {name}\(", (REPO / file).read_text(), re.MULTILINE)


def test_every_table_of_defences_is_read():
    assert len(TABLES) == PAGE.count("| shown by |") > 0


@pytest.mark.parametrize("rows", [pytest.param(rows, id=heading) for heading, rows in TABLES])
def test_every_defence_names_a_test(rows):
    assert [row for row in rows.splitlines() if "::test_" not in row] == []
