"""django-anymail below gunicorn, in an environment of its own that `build/peers` holds."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import environments
from machine import HERE, free_port, wait_for_port

ENVIRONMENT = environments.REPO / "build/peers"
REQUIREMENTS = ["django==5.2.*", "django-anymail==15.*", "gunicorn>=23"]
WORKERS, THREADS = 2, 32


def install() -> None:
    """Install the packages, where they are not there yet."""
    if (ENVIRONMENT / "bin/gunicorn").exists():
        return
    environments.create(ENVIRONMENT, *REQUIREMENTS)


@contextmanager
def running(contacts: Path, provider: int) -> Iterator[tuple[str, list[int]]]:
    """Run the service; yield its URL and the process ids."""
    port = free_port()
    command = [ENVIRONMENT / "bin/gunicorn", "--chdir", HERE / "peers", "--bind", f"127.0.0.1:{port}"]
    command += [
        f"--workers={WORKERS}",
        f"--threads={THREADS}",
        "--worker-class=gthread",
        "--log-level=warning",
    ]
    environment = {**os.environ, "PROVIDER": f"http://127.0.0.1:{provider}", "CONTACTS": str(contacts)}
    environment["PYTHONWARNINGS"] = "ignore"  # Its SendGrid backend is no longer supported, and still works.
    process = subprocess.Popen([*command, "--keep-alive=60", "anymail_app:application"], env=environment)
    try:
        wait_for_port(port, process)
        yield f"http://127.0.0.1:{port}", [process.pid]
    finally:
        process.terminate()
        process.wait()
