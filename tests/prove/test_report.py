"""The verdict of ``gatepost prove``, and the page to print."""

import pytest

from gatepost.prove.memory import MemorySearch
from gatepost.prove.page import html_page
from gatepost.prove.plants import Plant
from gatepost.prove.report import Configuration, Finding, RehearsalRecord, Report, Verdict, encode, verdict
from gatepost.prove.text import text_lines

FINDING = Finding(
    rehearsal="echo", place="log", name="gatepost.log", value="prove-user-1: email", spelling="plain"
)
SEEN, UNSEEN = (Plant(place="a copy of: log", spelling="base64", found=found) for found in (True, False))


@pytest.mark.parametrize(
    ("findings", "plants", "sent", "expected"),
    [
        ([], [SEEN], 5, Verdict.CLEAN),
        ([FINDING], [SEEN], 5, Verdict.LEAK),
        ([FINDING], [UNSEEN], 0, Verdict.LEAK),
        ([], [SEEN, UNSEEN], 5, Verdict.BLIND),
        ([], [], 5, Verdict.BLIND),
        ([], [SEEN], 0, Verdict.INCOMPLETE),
    ],
)
def test_the_verdict_is_clean_only_where_the_search_sees_and_found_nothing(findings, plants, sent, expected):
    assert verdict(findings, plants, sent) is expected


def report(name: str = "gatepost.toml", **fields: object) -> Report:
    rehearsal = RehearsalRecord(
        name="echo",
        title="your routes",
        requests=1_234,
        callbacks=5,
        exercised=[],
        not_exercised=[],
        memory=MemorySearch(why_not="the system does not allow it"),
    )
    values = {
        **dict.fromkeys(("gatepost", "python", "system", "started", "network", "store"), "x"),
        **{key: [] for key in ("plugins", "views", "hashes", "searched")},
        "seconds": 1.0,
        "people": 1,
        "spellings": 2,
        "rehearsals": [rehearsal],
        "verdict": Verdict.LEAK,
        "plants": [UNSEEN],
        "findings": [FINDING] * 50,
        "configuration": Configuration(file=name, sha256="ab" * 32, lines=[], changes=[]),
    }
    return Report(**{**values, **fields})


def test_the_page_is_whole_without_anything_from_elsewhere_and_can_not_be_injected_into():
    page = html_page(report("<script>alert(1)</script>.toml"))

    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "http" not in page
    assert page.count("<li>") == 50
    assert "NOT FOUND" in page


def test_the_text_has_the_first_findings_and_says_how_many_more_there_are():
    lines = list(text_lines(report()))

    assert sum("prove-user-1: email" in line for line in lines) == 20
    assert any("and 30 more" in line for line in lines)
    assert any("a copy of: log, base64" in line for line in lines)


def test_the_json_begins_with_the_number_of_its_form():
    assert encode(report()).startswith(b'{\n "format": 1,')
