"""The page on the kit lists the checks, and what can be declared, as they are."""

import re
from pathlib import Path

import pytest

from gatepost.testing.conformance.provider import Form, Trouble
from gatepost.testing.conformance.registry import checks

PAGE = (Path(__file__).parents[3] / "docs/reference/conformance.md").read_text()
ROWS = {
    check_id: (mark, summary, needs)
    for check_id, mark, summary, needs in re.findall(
        r"^\| `([\w.]+)`( ●)? \| (.+?) \| (.*?) ?\|$", PAGE.partition("## The checks")[2], re.MULTILINE
    )
}


def test_the_page_lists_the_checks_that_there_are():
    assert ROWS.keys() == checks().keys()


@pytest.mark.parametrize("check", checks().values(), ids=checks())
def test_the_page_says_of_a_check_what_it_says_itself(check):
    mark, summary, needs = ROWS[check.id]

    assert summary == check.summary
    assert bool(mark) == check.unattended
    assert set(re.findall(r"`(\w+)`", needs)) == {need.name for need in check.needs}


@pytest.mark.parametrize("word", [*Trouble, *Form])
def test_the_page_lists_what_can_be_declared(word):
    assert re.search(rf"^\| `{word.name}` \|", PAGE, re.MULTILINE)
