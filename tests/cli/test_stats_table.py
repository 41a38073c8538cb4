"""The table of the statistics in its three forms: CSV, JSON, and the text of ``gatepost stats``."""

import csv
import io
from decimal import Decimal

import pytest

from gatepost.cli.stats_table import as_text
from gatepost.model import Status
from gatepost.outbox import statistics_table
from gatepost.outbox.statistics_report import Group


def group(*key, messages=0, parts=0, counted_parts=0, prices=None, **statuses):
    found = Group(key, messages, parts=parts, counted_parts=counted_parts, prices=prices or {})
    found.statuses |= {Status(name): number for name, number in statuses.items()}
    return found


def csv_rows(groups, by):
    text = statistics_table.as_csv(statistics_table.build(groups, by))
    assert text.endswith("\r\n")
    assert "\n" not in text.replace("\r\n", "")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def text_lines(groups, by):
    return as_text(statistics_table.build(groups, by)).splitlines()


GERMANY = group(
    "2026-11-27",
    "DE",
    messages=1_500,
    accepted=1_400,
    delivered=1_293,
    failed=7,
    parts=2_000,
    prices={"EUR": Decimal("13.600000"), "USD": Decimal("0.0068")},
)


def test_csv_has_a_row_for_each_group_with_plain_numbers_and_exact_prices():
    (row,) = csv_rows([GERMANY], ["day", "country"])
    assert row | {"rejected": "", "rejected_percent": ""} == {
        "day": "2026-11-27",
        "country": "DE",
        "messages": "1500",
        "accepted": "1400",
        "delivered": "1293",
        "delivered_percent": "92.4",
        "failed": "7",
        "failed_percent": "0.5",
        "rejected": "",
        "rejected_percent": "",
        **dict.fromkeys(("complained", "opened", "unsubscribed"), "0"),
        **{f"{name}_percent": "0.0" for name in ("complained", "opened", "unsubscribed")},
        "parts": "2000",
        "counted_parts": "0",
        "price_EUR": "13.60",
        "price_USD": "0.0068",
    }


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_name_is_a_formula_in_a_spreadsheet(start):
    (row,) = csv_rows([group(f"{start}cmd|' /C calc'!A0", accepted=1)], ["client"])
    assert row["client"].startswith("'")


def test_a_name_with_separators_is_one_cell():
    (row,) = csv_rows([group('a,"b"\r\nc', accepted=1)], ["client"])
    assert row["client"] == 'a,"b"\r\nc'


def test_without_accepted_messages_there_is_no_share():
    (row,) = csv_rows([group("eu", messages=None, failed=3)], ["plugin"])
    assert (row["messages"], row["failed"], row["failed_percent"]) == ("", "3", "")


@pytest.mark.parametrize("by", [["day", "country", "status"], ["status", "day", "country"]])
def test_by_status_each_status_is_a_row(by):
    rows = csv_rows([GERMANY], by)
    assert list(rows[0]) == [*by, "number", "percent"]
    assert [(row["country"], row["status"], row["number"], row["percent"]) for row in rows] == [
        ("DE", "accepted", "1400", "100.0"),
        ("DE", "delivered", "1293", "92.4"),
        ("DE", "failed", "7", "0.5"),
    ]


def test_the_rows_by_status_are_in_the_order_of_the_columns():
    groups = [group("AT", accepted=2, delivered=1), group("DE", accepted=4)]
    rows = csv_rows(groups, ["status", "country"])
    assert [(row["status"], row["country"]) for row in rows] == [
        ("accepted", "AT"),
        ("accepted", "DE"),
        ("delivered", "AT"),
    ]


def test_json_has_numbers_and_exact_prices_as_text():
    (row,) = statistics_table.as_json(statistics_table.build([GERMANY], ["day", "country"]))
    assert (row["messages"], row["delivered_percent"], row["price_EUR"]) == (1_500, 92.4, "13.60")


def test_the_text_has_only_columns_in_which_something_is():
    header, line = text_lines([GERMANY], ["day", "country"])
    assert "opened" not in header
    assert "parts (counted)" not in header
    assert line.split() == [
        "2026-11-27",
        "DE",
        "1,500",
        "1,400",
        "1,293",
        "92.4",
        "7",
        "0.5",
        "2,000",
        "13.60",
        "0.0068",
    ]


def test_the_text_says_which_names_are_not_known():
    lines = text_lines([group("", "", "", accepted=1)], ["route", "plugin", "country"])
    assert lines[1].startswith("not decided  none    not known")


def test_a_name_can_not_control_the_terminal():
    assert text_lines([group("\x1b[2J", accepted=1)], ["client"])[1].startswith("\\x1b[2J")
