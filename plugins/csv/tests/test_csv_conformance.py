"""Gatepost's checks of every plugin, run on this one."""

import csv

import pytest

from gatepost.testing.suites import ContactsSuite, LifespanSuite
from gatepost_csv import CsvSource


class TestConformance(ContactsSuite, LifespanSuite):
    plugin = CsvSource

    @pytest.fixture
    def table(self, contacts, tmp_path):
        rows = [("ext_user_id", "email", "phone")]
        for user, contact in contacts.items():
            rows.append(
                (user, *(value.reveal() if value else "" for value in (contact.email, contact.phone)))
            )
        with (tmp_path / "players.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
        return {"path": "players.csv"}
