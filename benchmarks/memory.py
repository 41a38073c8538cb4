"""*Memory*: the resident memory of a gateway's processes, idle and with a long queue."""

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from gateways import ALL_PLUGINS, SMTP, configure, fill_queue
from machine import Row, free_port, rss

from gatepost.testing.process import GatewayProcess

SETTLE_SECONDS = 4.0
"""Seconds from the start to the measurement; by then the gateway has found no relay, and its breaker rests."""

IDLE_GOAL = 130.0
ALL_PLUGINS_GOAL = 180.0
QUEUED_GOAL = 50.0
"""Megabytes."""


def rows(queued: int) -> Iterator[Row]:
    """Measure in megabytes of 1,000,000 bytes."""
    idle, all_plugins = _resident(SMTP), _resident(ALL_PLUGINS)
    yield Row(
        "memory, idle, CSV and SMTP", idle, "MB", IDLE_GOAL, at_least=False, note="RSS of all processes"
    )
    yield Row("memory, idle, every plugin", all_plugins, "MB", ALL_PLUGINS_GOAL, at_least=False)
    with_queue = _resident(SMTP, queued)
    note = f"{with_queue:.0f} MB; with nothing queued {idle:.0f}"
    name = f"memory, {queued:,} queued messages"
    yield Row(name, with_queue - idle, "MB more", QUEUED_GOAL, at_least=False, note=note)


def _resident(plugins: str, queued: int = 0) -> float:
    with TemporaryDirectory() as name:
        folder = Path(name)
        key = rsa.generate_private_key(65537, 2048)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "vonage.pem").write_bytes(pem)
        config = configure(folder, plugins.format(port=free_port(), connections=8, key=folder / "vonage.pem"))
        if queued:
            fill_queue(folder, queued)
        with GatewayProcess(config) as gateway:
            time.sleep(SETTLE_SECONDS)
            return rss(gateway.pid)
