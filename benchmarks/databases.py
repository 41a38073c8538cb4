"""A PostgreSQL server for the rows about it: the one that the tests use, from a wheel."""

import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from machine import cpu_of_all

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from torture import postgres


class Postgres:
    """A running server; a context manager."""

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self._server = self._stack.enter_context(postgres.start_server())
        folder = Path(self._server.psql("SHOW data_directory"))
        self._pid = int((folder / "postmaster.pid").read_text().split()[0])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def new_database(self) -> str:
        """The URL of an empty database."""
        return self._server.new_database()

    def cpu(self) -> float:
        """CPU seconds of all its processes so far."""
        return cpu_of_all(self._pid)
