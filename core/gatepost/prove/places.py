"""The places that are searched: everything that a gateway has written, answered or sent."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, Text, cast, literal_column, select, table, text

from gatepost.model import Secret
from gatepost.outbox import postgresql
from gatepost.prove import stand_in
from gatepost.prove.search import files
from gatepost.testing.smartico import Smartico

CODE = "plugin"
"""The folder with the stand-in's metadata."""

LOG, STORE, OTHER_FILES = "log", "store", "other files of the gateway's folder"
CALLBACKS, PROCESSES = "callbacks to Smartico", "what a list of processes shows"

_OUR_OWN = ("gatepost.toml", stand_in.PEOPLE, CODE)


class Place(NamedTuple):
    """Something to search."""

    kind: str
    name: str
    """Which one of its kind, such as a file's name."""
    content: bytes


def files_of(folder: Path) -> Iterator[Place]:
    """Yield every file of a gateway's folder, except those that the run itself has written."""
    for name, content in files(folder, but=_OUR_OWN):
        kind = LOG if name == "gatepost.log" else STORE if name.startswith("gatepost.db") else OTHER_FILES
        # A name may hold an address as well.
        yield Place(kind, name, name.encode() + b"\n" + content)


async def tables_of(url: str) -> list[Place]:
    """Return every table of a PostgreSQL database, as text."""
    database = postgresql.PostgresDatabase(Secret(url))
    try:
        found = await database.transact(_dump)
    finally:
        await database.close()
    return [Place(STORE, f"table {name}", content) for name, content in found]


async def table_names(url: str) -> list[str]:
    """Return the tables of a PostgreSQL database."""
    database = postgresql.PostgresDatabase(Secret(url))
    try:
        return await database.transact(_names)
    finally:
        await database.close()


def _names(connection: Connection) -> list[str]:
    query = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY tablename"
    return list(connection.execute(text(query)).scalars())


def _dump(connection: Connection) -> list[tuple[str, bytes]]:
    return [(name, "\n".join(_rows(connection, name)).encode()) for name in _names(connection)]


def _rows(connection: Connection, name: str) -> list[str]:
    """Return the rows of a table as PostgreSQL writes them; bytes are hexadecimal."""
    rows = table(name).alias("one_row")
    return list(connection.execute(select(cast(literal_column("one_row"), Text)).select_from(rows)).scalars())


def callbacks_of(smartico: Smartico) -> Place:
    """Return every callback, with all of its parameters but the key."""
    lines = [
        f"{name}={value}"
        for one in smartico.attempts
        for name, value in one.query.items()
        if name != "api_key"
    ]
    return Place(
        CALLBACKS, f"{len(smartico.attempts)} calls", "\n".join([*lines, *smartico.violations]).encode()
    )


def processes_of(pid: int) -> Place:
    """Return the command line and the threads' names of a process, its threads and its children."""
    found: list[bytes] = []
    family = [pid]
    for one in family if sys.platform == "linux" else ():
        # A thread may end while its files are read.
        with suppress(FileNotFoundError, ProcessLookupError):
            found.append(Path(f"/proc/{one}/cmdline").read_bytes().replace(b"\0", b" "))
            for thread in Path(f"/proc/{one}/task").iterdir():
                found.append((thread / "comm").read_bytes())
                family += map(int, (thread / "children").read_text().split())
    return Place(PROCESSES, f"process {pid} and its children", b"\n".join(found))


def outputs_of(kind: str, outputs: Sequence[bytes]) -> Place:
    """Return what came back on requests of one kind."""
    return Place(kind, f"{len(outputs)} of them", b"\n".join(outputs))
