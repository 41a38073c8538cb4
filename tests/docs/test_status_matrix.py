"""The matrix of statuses says what the READMEs of the plugins say, and what their emulators can report."""

import importlib.util
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from gatepost.model import Status

DOCS = Path(__file__).parents[2] / "docs"

_spec = importlib.util.spec_from_file_location("docs_status_matrix", DOCS / "status_matrix.py")
status_matrix = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(status_matrix)

ROWS = status_matrix.rows()
# What the answer to a send says needs no report.
OF_AN_ANSWER = {Status.ACCEPTED, Status.REJECTED, Status.UNSUBSCRIBED}


def meanings(name):
    found = [one.load() for one in entry_points(group="gatepost.emulators", name=name)]
    return found[0].meanings if found else {}


def test_the_page_is_up_to_date():
    assert status_matrix.generate(status_matrix.PAGE.read_text()) == status_matrix.PAGE.read_text(), (
        "run make reference"
    )


def test_the_statuses_are_those_of_the_model():
    assert set(status_matrix.STATUSES) == set(Status)


def test_every_plugin_that_sends_for_one_vendor_has_a_row():
    senders = {page.stem for page in (DOCS / "how-to" / "providers").glob("*.md")}
    assert senders - {"csv", "http"} == set(ROWS)


@pytest.mark.parametrize("name", [name for name in ROWS if meanings(name)])
def test_never_is_said_of_what_no_report_means(name):
    reported = {status for statuses in meanings(name).values() for status in statuses}
    never = {status for status, cell in ROWS[name].items() if cell == "never"}

    assert never & reported == set(), "the matrix says never, and a report means it"
    assert set(Status) - never <= reported | OF_AN_ANSWER, "the matrix promises what no report means"
