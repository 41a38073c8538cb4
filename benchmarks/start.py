"""*Start*: the time from a command to its answer."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from driver import email
from gateways import SMTP, configure
from machine import Row, free_port

from gatepost.testing.process import GatewayProcess

VERSION_GOAL = 0.3
SERVE_GOAL = 3.0
"""Seconds."""


def rows(rounds: int) -> Iterator[Row]:
    """Measure seconds, after a first run that fills the file cache."""
    version = median([_version() for _ in range(rounds + 1)][1:])
    yield Row("start, gatepost --version", version, "s", VERSION_GOAL, at_least=False)
    serve = median([_serve() for _ in range(rounds + 1)][1:])
    note = "from the command to the first accepted message, on a new store"
    yield Row("start, gatepost serve", serve, "s", SERVE_GOAL, at_least=False, note=note)


def _version() -> float:
    began = time.perf_counter()
    subprocess.run([Path(sys.executable).with_name("gatepost"), "--version"], check=True, capture_output=True)
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
