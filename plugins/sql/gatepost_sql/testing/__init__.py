"""A database of SQLite, as the conformance kit needs one."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from gatepost.model import Contact
from gatepost.testing.features import ContactFeature, FailureMode
from gatepost.testing.kit_emulator import KitEmulator
from gatepost_sql.testing.tables import FIND, FIND_USERS, INSERT, TABLE, rows_of

_LOCK_TIMEOUT = 5.0


class SqliteContacts(KitEmulator):
    """A file of SQLite in a folder of its own. It exists while this is entered."""

    contact_features = frozenset(ContactFeature)
    failure_modes = frozenset({FailureMode.OUTAGE, FailureMode.HANG})
    attempts = 0
    _lock: sqlite3.Connection | None = None

    @property
    def table(self) -> Mapping[str, Any]:
        """The keys of the plugin's table that lead to this database."""
        return {"url": f"sqlite:///{self._path}", "query": FIND, "user_query": FIND_USERS}

    def load_contacts(self, contacts: Mapping[str, Contact]) -> None:
        """Write these users, by ext_user_id, into the database."""
        with closing(self._connect()) as connection, connection:
            connection.executemany(INSERT.format("?", "?", "?", "?"), rows_of(contacts))

    def simulate(self, failure: FailureMode | None) -> None:
        """Fail in this way from now on; None: work again."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        with closing(self._connect()) as connection, connection:
            names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            if failure is FailureMode.OUTAGE:
                connection.execute("ALTER TABLE players RENAME TO away")
            elif "away" in names:
                connection.execute("ALTER TABLE away RENAME TO players")
        if failure is FailureMode.HANG:
            self._lock = self._connect()
            self._lock.execute("BEGIN EXCLUSIVE")

    def received(self) -> list[Any]:
        """Return nothing: nothing is sent to a database."""
        return []

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=_LOCK_TIMEOUT)

    async def __aenter__(self) -> Self:
        self._folder = TemporaryDirectory(prefix="gatepost-sql-")
        self._path = Path(self._folder.name) / "players.db"
        with closing(self._connect()) as connection, connection:
            connection.execute(TABLE.format("TEXT"))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.close()
        self._folder.cleanup()
