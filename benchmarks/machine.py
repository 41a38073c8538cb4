"""Processes and what they cost; Linux only, because it reads /proc."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
_TICK = os.sysconf("SC_CLK_TCK")


class Row(NamedTuple):
    """One line of the table."""

    name: str
    figure: float
    unit: str
    goal: float | None
    """None: reported, nothing to reach."""
    at_least: bool = True
    """False: at most."""
    note: str = ""

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        return self.figure >= self.goal if self.at_least else self.figure <= self.goal


def cpu(pid: int) -> float:
    """CPU seconds of a process so far, its own and the kernel's for it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def rss(pid: int) -> float:
    """Megabytes of memory that a process and its children hold now."""
    total = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return total + sum(rss(int(child)) for child in children.read_text().split())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


def run(script: str, *arguments: object, timeout: float = 600.0) -> dict[str, float]:
    """Run a script of this folder to its end; returns the JSON that it printed."""
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, timeout=timeout, check=False)
    if ended.returncode:
        raise RuntimeError(f"{script} ended with {ended.returncode}:\n{ended.stderr.decode()[-2000:]}")
    return json.loads(ended.stdout)


@contextmanager
def serving(script: str, *arguments: object) -> Iterator[int]:
    """A script of this folder that listens on the port given first; yields its process id."""
    process = subprocess.Popen([sys.executable, str(HERE / script), *map(str, arguments)])
    try:
        wait_for(int(str(arguments[0])), process)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"nobody listens on port {port}")
