"""A database of SQLite, as the conformance kit and the tests need one."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from gatepost.model import Contact
from gatepost.testing.features import ContactFeature
from gatepost.testing.kit_emulator import KitEmulator
from sqlalchemy import create_engine, text

_TABLE = (
    "CREATE TABLE users (ext_user_id TEXT PRIMARY KEY COLLATE NOCASE, email TEXT, phone TEXT, blocked TEXT)"
)
_USER = "INSERT INTO users VALUES (:ext_user_id, :email, :phone, :blocked)"


class ExampleSqlDatabase(KitEmulator):
    """A database in a folder of its own. It exists while this is entered."""

    contact_features = frozenset(ContactFeature)

    @property
    def table(self) -> Mapping[str, Any]:
        """The keys of the plugin's table that lead to this database."""
        return {"url": f"sqlite:///{self._path}"}

    def load_contacts(self, contacts: Mapping[str, Contact]) -> None:
        """Write these users, by ext_user_id, into the database."""
        engine = create_engine(f"sqlite:///{self._path}")
        with engine.begin() as connection:
            connection.execute(text(_TABLE))
            for name, contact in contacts.items():
                values = {
                    "ext_user_id": name,
                    "email": contact.email.reveal() if contact.email else None,
                    "phone": contact.phone.reveal() if contact.phone else None,
                    "blocked": contact.blocked,
                }
                connection.execute(text(_USER), values)
        engine.dispose()

    async def __aenter__(self) -> Self:
        self._folder = TemporaryDirectory(prefix="gatepost-example-sql-")
        self._path = Path(self._folder.name) / "users.db"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._folder.cleanup()
