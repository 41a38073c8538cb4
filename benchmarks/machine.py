"""Processes and what they cost; Linux only, because it reads /proc."""

import json
import os
import platform
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
_TICK = os.sysconf("SC_CLK_TCK")


class Row(NamedTuple):
    """One line of the table."""

    name: str
    figure: float | None
    """None: it could not be measured, or what was measured is void."""
    unit: str
    goal: float | None = None
    """None: reported, nothing to reach."""
    at_least: bool = True
    """False: at most."""
    note: str = ""

    @property
    def met(self) -> bool | None:
        if self.figure is None:
            return False
        if self.goal is None:
            return None
        return self.figure >= self.goal if self.at_least else self.figure <= self.goal


def cpu(pid: int) -> float:
    """CPU seconds of a process so far, its own and the kernel's for it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def cpu_of_all(pid: int) -> float:
    """CPU seconds of a server that works in processes of its own: of those that are, and of those that were."""
    gone = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[13:15]
    return cpu(pid) + sum(map(int, gone)) / _TICK + sum(cpu(child) for child in _children(pid))


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def rss(pid: int) -> float:
    """Megabytes of memory that a process and its children hold now."""
    total = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return total + sum(rss(child) for child in _children(pid))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


def described() -> dict[str, object]:
    """The machine, for whoever compares figures of several."""
    models = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    ]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": models[0].partition(": ")[2] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load before": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }


def run(
    script: str, *arguments: object, timeout: float = 600.0, environment: Mapping[str, str] | None = None
) -> dict[str, float]:
    """Run a script of this folder to its end; returns the JSON that it printed last."""
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    ended = subprocess.run(
        command, capture_output=True, timeout=timeout, check=False, env={**os.environ, **(environment or {})}
    )
    if ended.returncode:
        raise RuntimeError(f"{script} ended with {ended.returncode}:\n{ended.stderr.decode()[-2000:]}")
    return json.loads(ended.stdout.splitlines()[-1])


@contextmanager
def serving(script: str, *arguments: object, environment: Mapping[str, str] | None = None) -> Iterator[int]:
    """A script of this folder that listens on the port given first; yields its process id."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / script), *map(str, arguments)], env={**os.environ, **(environment or {})}
    )
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


def asked(port: int) -> dict[str, float]:
    """What a stand-in has counted."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as asking, asking.makefile() as answer:
        return json.loads(answer.read())


def until(count: int, look: Callable[[], dict[str, float]], seconds: float = 300.0) -> dict[str, float]:
    """Look until so many are counted; returns what was seen last."""
    deadline = time.monotonic() + seconds
    while (seen := look())["count"] < count:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{seen['count']} of {count} arrived within {seconds:g} s")
        time.sleep(0.05)
    return seen
