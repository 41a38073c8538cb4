"""The stores of the gateways under test, queried with plain SQL and not through the gateway's code."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from gatepost.outbox import deaths
from torture.oracle import MessageRow, StatusRow
from torture.postgres import Server

_MESSAGES = "SELECT id, uid, state, due_at IS NOT NULL FROM messages"
_STATUSES = "SELECT message_id, status, callback_state FROM statuses ORDER BY seq"
_OPEN = (
    "SELECT (SELECT count(*) FROM messages WHERE due_at IS NOT NULL) + "
    "(SELECT count(*) FROM statuses WHERE callback_state IN ('waiting', 'queued', 'calling'))"
)
_HELD = "SELECT id FROM messages WHERE state = 'held'"
_HELD_FOR_DEATHS = f"{_HELD} AND reason = '{deaths.HELD_REASON}'"

_WATCH = """
CREATE TABLE finished_twice (id text);
CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO finished_twice VALUES (OLD.id); RETURN NEW; END $$;
CREATE TRIGGER watch AFTER UPDATE ON messages FOR EACH ROW
WHEN (OLD.ended_at IS NOT NULL AND (OLD.state <> NEW.state OR OLD.holder <> NEW.holder
      OR OLD.attempt <> NEW.attempt OR NEW.ended_at IS NULL))
EXECUTE FUNCTION watch();
"""


class Store:
    """A store on either database."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, statement: str) -> Sequence[Sequence[str]]:
        """Return the rows of a query, all values as text."""
        raise NotImplementedError

    def watch(self) -> None:
        """Begin to note which messages are finished twice; only PostgreSQL does it."""

    def finished_twice(self) -> list[str]:
        """Return the ids of the messages that were finished twice since ``watch``."""
        return []

    def count_open(self) -> int:
        """Return the number of messages that are due and of statuses that wait for their callback."""
        return int(self.query(_OPEN)[0][0])

    def count_held(self) -> int:
        """Return the number of messages that wait for the operator."""
        return len(self.held())

    def held(self) -> list[str]:
        """Return the ids of the messages that wait for the operator."""
        return [row[0] for row in self.query(_HELD)]

    def held_for_deaths(self) -> list[str]:
        """Return the ids of messages that are held because they were in flight at three deaths of a process."""
        return [row[0] for row in self.query(_HELD_FOR_DEATHS)]

    def dump(self) -> tuple[dict[str, MessageRow], dict[str, list[StatusRow]]]:
        """Return all messages and statuses for the oracle, by message id."""
        rows = {
            message_id: MessageRow(uid, state, is_due in {"t", "1"})
            for message_id, uid, state, is_due in self.query(_MESSAGES)
        }
        statuses: dict[str, list[StatusRow]] = {}
        for message_id, status, callback_state in self.query(_STATUSES):
            statuses.setdefault(message_id, []).append(StatusRow(status, callback_state))
        return rows, statuses


class Sqlite(Store):
    """A file in the folder of the configuration."""

    def __init__(self, folder: Path) -> None:
        super().__init__("sqlite:///outbox.db")
        self.path = folder / "outbox.db"

    def query(self, statement: str) -> Sequence[Sequence[str]]:
        connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)
        try:
            return [[str(value) for value in row] for row in connection.execute(statement)]
        finally:
            connection.close()


class Postgresql(Store):
    """An empty database of the test server."""

    def __init__(self, server: Server) -> None:
        super().__init__(server.new_database())
        self.server = server
        self.name = self.url.split("?")[0].rsplit("/", 1)[1]

    def query(self, statement: str) -> Sequence[Sequence[str]]:
        output = self.server.psql(statement, self.name)
        return [line.split("|") for line in output.splitlines()]

    def watch(self) -> None:
        self.server.psql(_WATCH, self.name)

    def finished_twice(self) -> list[str]:
        return [row[0] for row in self.query("SELECT id FROM finished_twice")]
