"""Gatepost's checks of every plugin, run on this one."""

import csv

import pytest

from gatepost.testing.suites import ContactFeature, ContactsSuite, LifespanSuite
from gatepost_csv import CsvSource


class TestConformance(ContactsSuite, LifespanSuite):
    plugin = CsvSource
    contact_features = {ContactFeature.BLOCKS}

    @pytest.fixture
    def table(self, contacts, tmp_path):
        rows = [("ext_user_id", "email", "phone", "blocked")]
        for user, contact in contacts.items():
            addresses = (value.reveal() if value else "" for value in (contact.email, contact.phone))
            rows.append((user, *addresses, contact.blocked))
        with (tmp_path / "players.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
        return {"path": "players.csv"}
