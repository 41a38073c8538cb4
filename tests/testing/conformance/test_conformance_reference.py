"""The reference page of the kit lists every check, and everything that a suite can declare."""

import re
from pathlib import Path

import pytest

from gatepost.testing.conformance.registry import checks
from gatepost.testing.features import ContactFeature, FailureMode, MessageFeature, ReportFeature

PAGE = (Path(__file__).parents[3] / "docs/reference/conformance.md").read_text()
ROWS = {
    check_id: (mark, summary, needs)
    for check_id, mark, summary, needs in re.findall(
        r"^\| `([\w.]+)`( ●)? \| (.+?) \| (.*?) ?\|$", PAGE.partition("## The checks")[2], re.MULTILINE
    )
}


def test_the_page_lists_every_check():
    assert ROWS.keys() == checks().keys()


@pytest.mark.parametrize("check", checks().values(), ids=checks())
def test_the_page_has_the_summary_of_each_check(check):
    mark, summary, needs = ROWS[check.id]

    assert summary == check.summary
    assert bool(mark) == check.standalone
    assert needs == ", ".join(
        [
            *sorted(f"`{need.name}`" for need in check.needs),
            *filter(None, [" or ".join(sorted(f"`{need.name}`" for need in check.needs_any))]),
        ]
    )


@pytest.mark.parametrize("word", [*FailureMode, *MessageFeature, *ContactFeature, *ReportFeature])
def test_the_page_lists_everything_that_can_be_declared(word):
    assert re.search(rf"^\| `{word.name}` \|", PAGE, re.MULTILINE)
