"""A table of players on a real server, reached through a proxy, with a user that may only read it."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from gatepost.model import Contact
from gatepost.testing.features import FailureMode
from gatepost_sql.testing.tables import FIND, FIND_USERS, TABLE, rows_of
from sql.mariadb import MariaDb
from sql.proxy import Fault, Proxy
from torture.postgres import Server

_FAULTS = {
    FailureMode.HANG: Fault.HANG,
    FailureMode.LOSE: Fault.RESET,
    FailureMode.DROP: Fault.REFUSE,
}


class Players:
    """What the tests of each server share. It has the methods that the conformance kit needs."""

    attempts = 0
    id_type = "VARCHAR(512)"
    proxy: Proxy
    url: str

    @property
    def table(self) -> Mapping[str, Any]:
        return {"url": self.url, "query": FIND, "user_query": FIND_USERS}

    def run(self, command: str) -> Any:
        raise NotImplementedError

    def lock_reader(self, locked: bool) -> None:
        raise NotImplementedError

    def literal(self, value: object) -> str:
        return "NULL" if value is None else "'" + str(value).replace("'", "''") + "'"

    def create(self, id_type: str = "", key: str = "") -> None:
        self.run(TABLE.format(f"{id_type or self.id_type} {key}"))

    def add(self, contacts: Mapping[str, Contact]) -> None:
        values = ", ".join(f"({', '.join(map(self.literal, row))})" for row in rows_of(contacts))
        self.run(f"INSERT INTO players (id, email, phone, excluded) VALUES {values}")

    def simulate(self, failure: FailureMode | None) -> None:
        self.proxy.fault = _FAULTS.get(failure)
        with contextlib.suppress(Exception):
            if failure is None:
                self.run("ALTER TABLE away RENAME TO players")
        self.lock_reader(failure is FailureMode.DENY)
        if failure is FailureMode.OUTAGE:
            self.run("ALTER TABLE players RENAME TO away")
        if failure in {FailureMode.DENY, FailureMode.DROP}:
            self.proxy.drop()

    def received(self) -> Sequence[Any]:
        return []


class PostgresPlayers(Players):
    """The table in PostgreSQL."""

    scheme = "postgresql"
    upstream: str

    def __init__(self, server: Server) -> None:
        self._server = server
        self.database = server.new_database().partition("?")[0].rpartition("/")[2]
        self.upstream = f"{server._folder}/.s.PGSQL.5432"
        self.role = f"reader_{self.database}"
        self.run(f"CREATE ROLE {self.role} LOGIN")
        self.run(f"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {self.role}")

    def connect(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.url = f"postgresql://{self.role}:secret@127.0.0.1:{proxy.port}/{self.database}"

    def run(self, command: str) -> str:
        return self._server.psql(command, self.database)

    def lock_reader(self, locked: bool) -> None:
        self.run(f"ALTER ROLE {self.role} {'NO' if locked else ''}LOGIN")


class MariaPlayers(Players):
    """The table in MariaDB."""

    scheme = "mariadb"
    id_type = "VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"

    def __init__(self, server: MariaDb) -> None:
        self._server = server
        self.database = server.new_database()
        self.upstream = server.port
        self.role = f"reader_{self.database}"
        self._server.run(
            f"CREATE USER {self.role}@'%' IDENTIFIED BY 'secret'",
            f"GRANT SELECT ON {self.database}.* TO {self.role}@'%'",
        )

    def connect(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.url = f"mariadb://{self.role}:secret@127.0.0.1:{proxy.port}/{self.database}"

    def run(self, command: str) -> Any:
        return self._server.run(f"USE {self.database}", command)

    def literal(self, value: object) -> str:
        return super().literal(value).replace("\\", "\\\\")

    def lock_reader(self, locked: bool) -> None:
        self._server.run(f"ALTER USER {self.role}@'%' ACCOUNT {'LOCK' if locked else 'UNLOCK'}")
