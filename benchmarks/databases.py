"""A PostgreSQL server for the rows with PostgreSQL: the one that the tests use, from a wheel."""

from contextlib import ExitStack
from types import TracebackType
from typing import Self

from machine import cpu_with_children

from torture import postgres


class Postgres:
    """A running server, as a context manager."""

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self._server = self._stack.enter_context(postgres.start_server())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def new_database(self) -> str:
        """Create an empty database and return its URL."""
        return self._server.new_database()

    @property
    def pid(self) -> int:
        """The first process, the parent of all others."""
        return self._server.postmaster

    def cpu(self) -> float:
        """Return the CPU seconds of all its processes so far."""
        return cpu_with_children(self._server.postmaster)
