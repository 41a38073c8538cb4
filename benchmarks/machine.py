"""Processes of the benchmarks and what they cost; only for Linux, because it reads /proc."""

import json
import os
import platform
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "tests"))
"""For each script that has imported this module: some use tools of the tests."""

_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class Row(NamedTuple):
    """One line of the table of results."""

    name: str
    figure: float | None
    """None if it could not be measured, or if the run was void."""
    unit: str
    goal: float | None = None
    """None if the figure has no goal."""
    at_least: bool = True
    """Whether the figure must be at least the goal, and not at most."""
    note: str = ""
    busy: bool = False
    """Whether the machine did something else meanwhile, so that the figure gives no verdict."""

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None if there is no goal, or no verdict."""
        if self.figure is None:
            return False
        if self.goal is None or self.busy:
            return None
        return self.figure >= self.goal if self.at_least else self.figure <= self.goal


def cpu(pid: int) -> float:
    """Return the CPU seconds of a process so far, including the kernel's for it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS


def cpu_with_children(pid: int) -> float:
    """Return the CPU seconds of a process and its children so far, including children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    total = sum(map(int, fields[11:15])) / _CLOCK_TICKS
    for child in _children(pid):
        with suppress(FileNotFoundError, ProcessLookupError):  # It has ended.
            total += cpu(child)
    return total


def precise_cpu(pid: int) -> float:
    """Return the CPU seconds of a process and its children that run, in nanoseconds' steps: for what takes milliseconds."""
    spent = 0.0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # It has ended.
            spent += int((thread / "schedstat").read_text().split()[0]) / 1e9
    for child in _children(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            spent += precise_cpu(child)
    return spent


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def rss(pid: int) -> float:
    """Return the resident memory of a process and its children in megabytes (1,000,000 bytes)."""
    total = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return total + sum(rss(child) for child in _children(pid))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def describe_machine() -> dict[str, object]:
    """Return a description of the machine, so that figures of several machines can be compared."""
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


def run_script(
    script: str,
    *arguments: object,
    python: str | Path = sys.executable,
    timeout: float = 600.0,
    environment: Mapping[str, str] | None = None,
) -> dict[str, float]:
    """Run a script of this folder to its end, and return the JSON that it printed in its last line."""
    command = [str(python), str(HERE / script), *map(str, arguments)]
    completed = subprocess.run(
        command, capture_output=True, timeout=timeout, check=False, env={**os.environ, **(environment or {})}
    )
    if completed.returncode:
        error = completed.stderr.decode()[-2000:]
        raise RuntimeError(f"{script} ended with exit code {completed.returncode}:\n{error}")
    return json.loads(completed.stdout.splitlines()[-1])


@contextmanager
def start_script(
    script: str, *arguments: object, environment: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Start a script of this folder, wait until it listens on its first argument, and yield its process id."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / script), *map(str, arguments)], env={**os.environ, **(environment or {})}
    )
    try:
        wait_for_port(int(str(arguments[0])), process)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def wait_for_port(port: int, process: subprocess.Popen[bytes] | None) -> None:
    """Wait until something listens there, or until the process that should has ended."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (process is None or process.poll() is None):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"no process listens on port {port}")


def query_count(port: int) -> dict[str, float]:
    """Return what a server has counted; ``sink.py`` describes it."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
        connection.makefile() as answer,
    ):
        return json.loads(answer.read())


def wait_for_count(port: int, count: int, timeout: float = 300.0) -> dict[str, float]:
    """Wait until a server has counted this number of messages, and return its figures."""
    deadline = time.monotonic() + timeout
    while (figures := query_count(port))["count"] < count:
        if time.monotonic() > deadline:
            raise RuntimeError(f"only {figures['count']} of {count} messages arrived within {timeout:g} s")
        time.sleep(0.05)
    return figures
