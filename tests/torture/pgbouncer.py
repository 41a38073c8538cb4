"""PgBouncer in front of the tests' server, where Debian's pgbouncer is installed."""

import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")

BOUNCER = """\
[databases]
* = host={server} user=postgres
[pgbouncer]
pool_mode = {mode}
server_round_robin = {round_robin}
default_pool_size = {size}
auth_type = any
listen_port = {port}
ignore_startup_parameters = default_transaction_read_only,statement_timeout
unix_socket_dir = {folder}
logfile = {folder}/log
{lines}
"""


@contextmanager
def pooler(server_url, mode, size=20, *, round_robin=False, port=6432, lines="listen_addr ="):
    """Run PgBouncer before the tests' server; yield the database's URL through it. ``lines`` are more of its file."""
    database = urlsplit(server_url)
    (server,) = parse_qs(database.query)["host"]
    folder = Path(server) / f"bouncer-{time.monotonic_ns()}"
    owner = Path(server).stat()
    folder.mkdir()
    os.chown(folder, owner.st_uid, owner.st_gid)
    config = folder / "pgbouncer.ini"
    values = {"server": server, "mode": mode, "size": size, "round_robin": int(round_robin), "port": port}
    config.write_text(BOUNCER.format(**values, folder=folder, lines=lines))
    # PgBouncer refuses to run as root, and only its owner may use the server's socket.
    user = owner.st_uid if os.geteuid() == 0 else None
    process = subprocess.Popen([PGBOUNCER, "-q", config], user=user)
    try:
        # The file of the socket is there a moment before PgBouncer listens on it.
        while not accepts_connections(folder / f".s.PGSQL.{port}"):
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.01)
        yield f"postgresql://postgres@{database.path}?host={folder}&port={port}"
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def accepts_connections(path):
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0
