"""*Memory*: what all processes of a gateway hold, idle and behind a long queue."""

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from gateways import EVERY, SMTP, configure, fill
from machine import Row, free_port, rss

from gatepost.testing.process import GatewayProcess

SETTLED = 4.0
"""Seconds after the start: it has looked at its queue, found nobody to send to, and rests."""

IDLE = 130.0
IDLE_EVERY = 180.0
QUEUED = 50.0


def rows(queued: int) -> Iterator[Row]:
    """Megabytes, of 1,000,000 bytes."""
    idle, every = _resident(SMTP), _resident(EVERY)
    yield Row("memory, idle, CSV and SMTP", idle, "MB", IDLE, at_least=False, note="RSS of all processes")
    yield Row("memory, idle, every plugin", every, "MB", IDLE_EVERY, at_least=False)
    full = _resident(SMTP, queued)
    note = f"{full:.0f} MB; with nothing queued {idle:.0f}"
    name = f"memory, {queued:,} queued messages"
    yield Row(name, full - idle, "MB more", QUEUED, at_least=False, note=note)


def _resident(plugins: str, queued: int = 0) -> float:
    with TemporaryDirectory() as name:
        folder = Path(name)
        key = rsa.generate_private_key(65537, 2048)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "vonage.pem").write_bytes(pem)
        config = configure(folder, plugins.format(port=free_port(), connections=8, key=folder / "vonage.pem"))
        if queued:
            fill(folder, queued)
        with GatewayProcess(config) as gateway:
            time.sleep(SETTLED)
            return rss(gateway.pid)
