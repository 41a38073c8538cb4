"""A file of users, as the conformance kit needs one."""

import csv
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from gatepost.model import Contact
from gatepost.testing.features import ContactFeature
from gatepost.testing.kit_emulator import KitEmulator


class CsvFile(KitEmulator):
    """A CSV file in a folder of its own. It exists while this is entered."""

    contact_features = frozenset({ContactFeature.BLOCKS})

    @property
    def table(self) -> Mapping[str, str]:
        """The keys of the plugin's table that lead to this file."""
        return {"path": str(self._path)}

    def load_contacts(self, contacts: Mapping[str, Contact]) -> None:
        """Write these users, by ext_user_id, into the file."""
        rows = [("ext_user_id", "email", "phone", "blocked")]
        for user, contact in contacts.items():
            email, phone = (value.reveal() if value else "" for value in (contact.email, contact.phone))
            rows.append((user, email, phone, contact.blocked))
        with self._path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)

    async def __aenter__(self) -> Self:
        self._folder = TemporaryDirectory(prefix="gatepost-csv-")
        self._path = Path(self._folder.name) / "players.csv"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._folder.cleanup()
