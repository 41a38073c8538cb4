"""*Start*: the time from a command to its answer, installed as operators do.

``python benchmarks/start.py ROUNDS`` measures in the environment of its Python, and prints JSON.
"""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import environments
from driver import email
from gateways import SMTP, configure
from machine import Row, free_port, run_script

from gatepost.testing.process import GatewayProcess

VERSION_GOAL = 0.3
"""Seconds."""

SERVE_GOAL = 1.8
"""CPU, as a multiple of what importing LIBRARIES takes: a tenth more than 1.64, which was measured on 28 November 2026."""

LIBRARIES = "litestar, sqlalchemy, msgspec, structlog, uvicorn, prometheus_client, rich_click"
"""What a gateway imports in any case, and by far the most of what it imports."""


def rows(rounds: int) -> Iterator[Row]:
    """Measure seconds and CPU; seconds alone say as much about the processor."""
    with environments.gatepost_with("csv", "smtp") as python:
        figures = run_script("start.py", rounds, python=python)
    yield Row("start, gatepost --version", figures["version"], "s", VERSION_GOAL, at_least=False)
    note = "from the command to the first accepted message, on a new store"
    yield Row("start, gatepost serve", figures["serve"], "s", note=note)
    note = f"{figures['cpu']:.2f} s of CPU; importing them {figures['libraries']:.2f}"
    name, unit = "start, gatepost serve: CPU", "of importing its libraries"
    yield Row(name, figures["ratio"], unit, SERVE_GOAL, at_least=False, note=note)


def _measure(rounds: int) -> dict[str, float]:
    """Return medians of all in turn, after a first round that fills the file cache."""
    measured = [(_timed(_version), _timed(_import), _timed(_serve)) for _ in range(rounds + 1)][1:]
    return {
        "version": median(version[0] for version, _, _ in measured),
        "serve": median(serve[0] for _, _, serve in measured),
        "cpu": median(serve[1] for _, _, serve in measured),
        "libraries": median(libraries[1] for _, libraries, _ in measured),
        "ratio": median(serve[1] / libraries[1] for _, libraries, serve in measured),
    }


def _timed(start: Callable[[], float]) -> tuple[float, float]:
    """Return the seconds that a start took, and the CPU seconds of its process, which has ended."""
    before = os.times()
    seconds = start()
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, cpu


def _version() -> float:
    return _run(Path(sys.executable).with_name("gatepost"), "--version")


def _import() -> float:
    return _run(sys.executable, "-c", f"import {LIBRARIES}")


def _run(*command: object) -> float:
    began = time.perf_counter()
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    return time.perf_counter() - began


def _serve() -> float:
    with TemporaryDirectory() as folder:
        config = configure(Path(folder), SMTP.format(port=free_port(), connections=8))
        began = time.perf_counter()
        with GatewayProcess(config) as gateway:
            request = urllib.request.Request(
                f"{gateway.url}/email",
                email("first", 0),
                {"Authorization": "letmein", "Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=10) as answer:
                fields = json.load(answer)
            seconds = time.perf_counter() - began
    if fields["error_code"]:
        raise RuntimeError(f"the first message was not accepted: {fields}")
    return seconds


if __name__ == "__main__":
    print(json.dumps(_measure(int(sys.argv[1]))))
