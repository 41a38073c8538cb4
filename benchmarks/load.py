"""The load on a server that accepts mails: by wrk, which costs little CPU, or else by ``driver.py``."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping

from driver import email
from machine import HERE, cpu, free_port, run_script, start_script


def load_name() -> str:
    """Return what makes the load, for the table: a driver in Python takes much more of the second core."""
    return "wrk" if shutil.which("wrk") else "driver.py"


def put_load(url: str, connections: int, seconds: float, prefix: str) -> Mapping[str, float]:
    """Post mails to ``url``/email over kept connections for so many seconds (whole ones with wrk).

    ``prefix`` begins the uids, so that each run has its own. Return ``count``, ``seconds``, ``p50``, ``p99`` (seconds)
    and ``refused``: connections that broke, and with driver.py also requests that were not accepted.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        return run_script("driver.py", url, connections, seconds, prefix)
    with tempfile.NamedTemporaryFile("wb", suffix=".json") as body:
        body.write(email("UID-------", 0).replace(b'"u0"', b'"u000"'))
        body.flush()
        command = [
            wrk,
            "--threads=1",
            f"--connections={connections}",
            f"--duration={max(1, round(seconds))}s",
        ]
        command += [f"--script={HERE / 'load.lua'}", f"{url}/email", "--", body.name, f"{prefix}-"]
        output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600).stdout
    [result] = [line for line in output.splitlines() if line.startswith("RESULT ")]
    return json.loads(result.removeprefix("RESULT "))


def noop_cost(seconds: float = 3.0) -> float:
    """Return the CPU seconds of a request to the no-op handler, at 64 connections after a short warm-up."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with start_script("noop.py", port) as pid:
        put_load(url, 64, 1.0, "warm-up")
        before = cpu(pid)
        load = put_load(url, 64, seconds, "run")
        return (cpu(pid) - before) / load["count"]


def answered_with_error(metrics: str) -> float:
    """Return how many requests a gateway has refused, from its metrics: wrk does not read the answers."""
    lines = [line for line in metrics.splitlines() if line.startswith("gatepost_answers_total{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines if 'code="0"' not in line)
