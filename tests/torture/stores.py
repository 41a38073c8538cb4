"""What stands in a store at the end, read past the gateway: by plain SQL."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from gatepost.outbox import deaths
from torture.oracle import Row, Told
from torture.postgres import Server

_MESSAGES = "SELECT id, uid, state, due_at IS NOT NULL, holder FROM messages"
_STATUSES = "SELECT message_id, status, callback_state FROM statuses ORDER BY seq"
_WAITING = (
    "SELECT (SELECT count(*) FROM messages WHERE due_at IS NOT NULL) + "
    "(SELECT count(*) FROM statuses WHERE callback_state IN ('waiting', 'queued', 'calling'))"
)
_HELD = "SELECT count(*) FROM messages WHERE state = 'held'"

_BLAMED = f"SELECT id FROM messages WHERE state = 'held' AND reason = '{deaths.HELD_REASON}'"

_WATCH = """
CREATE TABLE finished_again (id text);
CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO finished_again VALUES (OLD.id); RETURN NEW; END $$;
CREATE TRIGGER watch AFTER UPDATE ON messages FOR EACH ROW
WHEN (OLD.ended_at IS NOT NULL AND (OLD.state <> NEW.state OR OLD.holder <> NEW.holder
      OR OLD.attempt <> NEW.attempt OR NEW.ended_at IS NULL))
EXECUTE FUNCTION watch();
"""


class Store:
    """A store of either kind."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, statement: str) -> Sequence[Sequence[str]]:
        """The rows, all values as text."""
        raise NotImplementedError

    def watch(self) -> None:
        """From now on note what is finished more than once, where the store can."""

    def finished_again(self) -> list[str]:
        """What was noted since ``watch``."""
        return []

    def waiting(self) -> int:
        """Messages and statuses that are not at their end."""
        return int(self.query(_WAITING)[0][0])

    def held(self) -> int:
        """Messages that wait for the operator."""
        return int(self.query(_HELD)[0][0])

    def blamed(self) -> list[str]:
        """Messages that are held because the process died too often while it was sending them."""
        return [row[0] for row in self.query(_BLAMED)]

    def dump(self) -> tuple[dict[str, Row], dict[str, list[Told]]]:
        """Everything, as the oracle wants it."""
        rows = {
            identity: Row(uid, state, waits in {"t", "1"})
            for identity, uid, state, waits, _ in self.query(_MESSAGES)
        }
        statuses: dict[str, list[Told]] = {}
        for identity, status, callback_state in self.query(_STATUSES):
            statuses.setdefault(identity, []).append(Told(status, callback_state))
        return rows, statuses


class Sqlite(Store):
    """A file beside the configuration."""

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
    """A database of the bench's own server."""

    def __init__(self, server: Server) -> None:
        super().__init__(server.new_database())
        self.server = server
        self.name = self.url.split("?")[0].rsplit("/", 1)[1]

    def query(self, statement: str) -> Sequence[Sequence[str]]:
        said = self.server.psql(statement, self.name)
        return [line.split("|") for line in said.splitlines()]

    def watch(self) -> None:
        self.server.psql(_WATCH, self.name)

    def finished_again(self) -> list[str]:
        return [row[0] for row in self.query("SELECT id FROM finished_again")]
