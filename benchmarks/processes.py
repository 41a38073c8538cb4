"""*Processes*: the CPU of a message with several processes on one PostgreSQL, as a multiple of that with one."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from databases import Postgres
from gateways import SENDGRID, configure
from machine import Row, cpu_with_children, free_port, query_count, run_script, start_script, wait_for_count

GOAL = 1.15
CONNECTIONS = 64
"""Connections of the load for each process, and sends at once: what one process can do is what several are for."""

START_TIMEOUT = 60.0


def rows(rounds: int, count: int) -> Iterator[Row]:
    """Measure messages that are accepted and sent, with one process and in turn with more.

    The CPU is counted for all processes together, so more of them than the machine has cores say something too.
    """
    with Postgres() as server:
        for processes, connections in ((2, 2 * CONNECTIONS), (4, 4 * CONNECTIONS), (4, CONNECTIONS)):
            pairs = [
                (_measure(server, 1, count, CONNECTIONS), _measure(server, processes, count, connections))
                for _ in range(rounds)
            ]
            one, several = pairs[-1]
            note = f"{several['cpu'] * 1e6:.0f} µs each; one process {one['cpu'] * 1e6:.0f}"
            note += f"; the server {several['server'] * 1e6:.0f} beside that; one {one['server'] * 1e6:.0f}"
            figure = median(several["cpu"] / one["cpu"] for one, several in pairs)
            grows = connections > CONNECTIONS
            name = f"{processes} processes{'' if grows else ', the load of one'}: CPU of a message"
            yield Row(name, figure, "of one process", GOAL if grows else None, at_least=False, note=note)


def _measure(server: Postgres, processes: int, count: int, connections: int) -> dict[str, float]:
    port, count_port = free_port(), free_port()
    with TemporaryDirectory() as name, start_script("provider.py", port, count_port):
        folder = Path(name)
        plugins = SENDGRID.format(port=port, connections=CONNECTIONS)
        config = configure(folder, plugins, server.new_database(), port=free_port())
        with _gateways(config, processes) as (pid, url):
            run_script("driver.py", url, connections, 600, "warm", 500)
            wait_for_count(count_port, 500)
            used, server_used = cpu_with_children(pid), server.cpu()
            already = int(query_count(count_port)["count"])
            load = run_script("driver.py", url, connections, 600, "run", count)
            wait_for_count(count_port, already + count)
            time.sleep(1)  # The work after a send counts too.
            used, server_used = cpu_with_children(pid) - used, server.cpu() - server_used
    if load["refused"]:
        raise RuntimeError(f"{load['refused']:.0f} of {count} were not accepted")
    return {"cpu": used / count, "server": server_used / count}


@contextmanager
def _gateways(config: Path, processes: int) -> Iterator[tuple[int, str]]:
    """Run the processes below one parent, or one alone; yield the process id and the URL."""
    log = config.with_suffix(".log")
    command = [
        sys.executable,
        "-m",
        "gatepost",
        "serve",
        "--config",
        str(config),
        "--processes",
        str(processes),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ})
    try:
        ready = '"listening"' if processes == 1 else '"all_processes_listen"'
        deadline = time.monotonic() + START_TIMEOUT
        while ready not in log.read_text() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        found = re.search(r'"url": "([^"]+)"', log.read_text())
        if not found:
            raise RuntimeError(f"no gateway listens:\n{log.read_text()[-2000:]}")
        yield process.pid, found[1]
    finally:
        process.terminate()
        process.wait()
