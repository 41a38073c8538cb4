"""*Memory*: the resident memory of a gateway's processes, idle and with a long queue, installed as operators do.

``python benchmarks/memory.py PLUGINS QUEUED`` measures in the environment of its Python, and prints JSON.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import environments
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from gateways import FIVE_PLUGINS, SMTP, configure, fill_queue
from machine import Row, free_port, rss, run_script

from gatepost.testing.process import GatewayProcess

SETTLE_SECONDS = 4.0
"""Seconds from the start to the measurement; by then the gateway has found no relay, and its breaker rests."""

# What was measured on 28 November 2026, 77 and 108 (within 0.1 in three runs), and 4 % for another build of Python.
IDLE_GOAL = 80.0
FIVE_PLUGINS_GOAL = 113.0
QUEUED_GOAL = 50.0
"""Megabytes."""

PLUGINS = {"smtp": SMTP, "five": FIVE_PLUGINS}


def rows(queued: int) -> Iterator[Row]:
    """Measure in megabytes of 1,000,000 bytes."""
    with environments.gatepost_with("csv", "smtp") as python:
        idle = run_script("memory.py", "smtp", 0, python=python)["rss"]
        with_queue = run_script("memory.py", "smtp", queued, python=python)["rss"]
    with environments.gatepost_with("csv", "smtp", "sendgrid", "vonage", "sandbox") as python:
        five = run_script("memory.py", "five", 0, python=python)["rss"]
    note = "RSS of all processes; nothing else is installed"
    yield Row("memory, idle, CSV and SMTP", idle, "MB", IDLE_GOAL, at_least=False, note=note)
    name = "memory, idle, CSV, SMTP, SendGrid, Vonage and sandbox"
    yield Row(name, five, "MB", FIVE_PLUGINS_GOAL, at_least=False)
    note = f"{with_queue:.0f} MB; with nothing queued {idle:.0f}"
    name = f"memory, {queued:,} queued messages"
    yield Row(name, with_queue - idle, "MB more", QUEUED_GOAL, at_least=False, note=note)


def _resident(plugins: str, queued: int) -> float:
    with TemporaryDirectory() as name:
        folder = Path(name)
        key = rsa.generate_private_key(65537, 2048)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "vonage.pem").write_bytes(pem)
        config = configure(folder, plugins.format(port=free_port(), connections=8, key=folder / "vonage.pem"))
        # Also for none: as after most starts, the store exists. Creating it takes some megabytes more.
        fill_queue(folder, queued)
        with GatewayProcess(config) as gateway:
            time.sleep(SETTLE_SECONDS)
            return rss(gateway.pid)


if __name__ == "__main__":
    print(json.dumps({"rss": _resident(PLUGINS[sys.argv[1]], int(sys.argv[2]))}))
