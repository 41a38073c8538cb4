"""A temporary MariaDB server for tests, where Debian's mariadb-server is installed."""

import getpass
import itertools
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pymysql

from gatepost.testing.configuration import free_port

INSTALL = shutil.which("mariadb-install-db")
SERVER = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin")

MISSING = "mariadb-server is not installed: `make programs` installs it"

_START_TIMEOUT = 120.0


def is_installed() -> bool:
    """Return whether this machine has the programs."""
    return bool(INSTALL and SERVER)


class MariaDb:
    """A running server, on a port of this machine."""

    def __init__(self, port: int, path: Path) -> None:
        self.port = port
        self._socket = path
        self._numbers = itertools.count()

    def run(self, *commands: str) -> list[tuple[object, ...]]:
        """Run SQL as the owner of the server, and return the rows of the last command."""
        connection = pymysql.connect(
            unix_socket=str(self._socket), user="root", autocommit=True, charset="utf8mb4"
        )
        try:
            with connection.cursor() as cursor:
                for command in commands:
                    cursor.execute(command)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def new_database(self) -> str:
        """Create an empty database and return its name."""
        name = f"gatepost_{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        return name


@contextmanager
def start_server() -> Iterator[MariaDb]:
    """Start a server in a temporary folder; stop it and remove the folder at the end."""
    folder = Path(tempfile.mkdtemp(prefix="gatepost-mariadb-"))
    user = getpass.getuser()
    data, path = folder / "data", folder / "socket"
    port = free_port()
    common = ["--no-defaults", f"--user={user}", f"--datadir={data}"]
    subprocess.run(
        [INSTALL, *common, "--auth-root-authentication-method=normal", "--skip-test-db"],
        check=True,
        capture_output=True,
    )
    options = [
        *(f"--socket={path}", f"--port={port}", "--bind-address=127.0.0.1", "--skip-name-resolve"),
        *("--skip-log-bin", "--innodb-flush-log-at-trx-commit=0", f"--pid-file={folder / 'pid'}"),
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([SERVER, *common, *options], stdout=log, stderr=log)
    try:
        server = MariaDb(port, path)
        _wait(server, process, folder)
        yield server
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(server: MariaDb, process: "subprocess.Popen[bytes]", folder: Path) -> None:
    end = time.monotonic() + _START_TIMEOUT
    # The server creates the socket when it takes connections.
    while not (folder / "socket").exists():
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError((folder / "log").read_text())
        time.sleep(0.05)
    server.run("SELECT 1")
