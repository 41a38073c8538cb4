# ruff: noqa: ASYNC110, ASYNC240  it watches other processes, and blocks nobody but itself
"""One gateway of the bench, and who starts it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Self

PATIENCE = 60.0
"""Seconds that a start or an end may take on a busy machine."""


class ForkServer:
    """The process that the gateways are forked from; a context manager that ends them all."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """``environment``: what is added to our own for it and all gateways."""
        self._environment = dict(environment or {})

    def __enter__(self) -> Self:
        paths = [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "torture.fork_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **self._environment, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )
        assert self._process.stdout.readline() == b"ready\n"
        self._turn = threading.Lock()
        return self

    def __exit__(self, *_: object) -> None:
        # With its stdin the fork server ends, and with it every gateway.
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._process.stdout.close()

    async def fork(self, order: Mapping[str, object]) -> int:
        """Start a gateway; returns its process id."""
        return await asyncio.to_thread(self._fork, json.dumps(order).encode() + b"\n")

    def _fork(self, order: bytes) -> int:
        with self._turn:
            self._process.stdin.write(order)
            self._process.stdin.flush()
            return int(self._process.stdout.readline())


class Replica:
    """A gateway on a port of its own, through all its lives."""

    def __init__(self, fork_server: ForkServer, config: Path, url: str, order: Mapping[str, object]) -> None:
        self.url = url
        self.config = config
        self.log = config.with_suffix(".log")
        self.pid = 0
        self._fork_server = fork_server
        self._order = {"config": str(config), "log": str(self.log), **order}

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        try:
            if self.pid:
                os.kill(self.pid, 0)
        except ProcessLookupError:
            self.pid = 0
        return self.pid > 0

    async def start(self) -> None:
        """Returns when it listens; raises RuntimeError with the end of its log when it does not."""
        begin = self.log.stat().st_size if self.log.exists() else 0
        self.pid = await self._fork_server.fork(self._order)
        try:
            async with asyncio.timeout(PATIENCE):
                while self.running:
                    if self.log.exists() and b'"event": "listening"' in self._said(begin):
                        return
                    await asyncio.sleep(0.01)
        except TimeoutError:
            pass
        raise RuntimeError(f"no gateway: {self._said(begin)[-4000:].decode('utf-8', 'replace')}")

    def _said(self, begin: int) -> bytes:
        with self.log.open("rb") as file:
            file.seek(begin)
            return file.read()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if there is still somebody to hear it."""
        if self.running:
            os.kill(self.pid, number)

    async def kill(self) -> None:
        """End it as a crash does."""
        self.signal(signal.SIGKILL)
        await self.ended()

    async def ended(self) -> int:
        """Wait for its end; returns its exit code, -9 where it could not say."""
        said = Path(f"{self.log}.{self.pid}.code")
        async with asyncio.timeout(PATIENCE):
            while self.running:
                await asyncio.sleep(0.005)
        return int(said.read_text()) if said.exists() else -9

    def said(self, word: str) -> int:
        """How often something stands in its log."""
        return self.log.read_text().count(word) if self.log.exists() else 0
