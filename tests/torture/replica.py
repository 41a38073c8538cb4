# ruff: noqa: ASYNC110, ASYNC240  it polls other processes and reads small files; nothing else runs on its loop
"""One gateway process under test, and the process that starts it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

PROCESS_TIMEOUT = 60.0
"""Seconds that a start or an end may take on a busy machine."""


class ForkServer:
    """The process that forks the gateways, as a context manager; it ends with all of them."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """``environment`` is added to this process's own, for the fork server and all gateways."""
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
        self._lock = threading.Lock()
        return self

    def __exit__(self, *_: object) -> None:
        # The fork server ends when its stdin is closed, and kills every gateway.
        self._process.stdin.close()
        self._process.wait(PROCESS_TIMEOUT)
        self._process.stdout.close()

    async def fork(self, command: Mapping[str, object]) -> int:
        """Start a gateway and return its process id; ``fork_server`` describes the command."""
        return await asyncio.to_thread(self._fork, json.dumps(command).encode() + b"\n")

    def _fork(self, command: bytes) -> int:
        with self._lock:
            self._process.stdin.write(command)
            self._process.stdin.flush()
            return int(self._process.stdout.readline())


class Replica:
    """A gateway on its own port; it may be started and killed many times."""

    def __init__(
        self, fork_server: ForkServer, config: Path, url: str, options: Mapping[str, object]
    ) -> None:
        """``options`` are added to the command for the fork server."""
        self.url = url
        self.config = config
        self.log = config.with_suffix(".log")
        self.pid = 0
        self.kill_times: list[float] = []
        """When it had ended after a ``kill``."""
        self._fork_server = fork_server
        self._command = {"config": str(config), "log": str(self.log), **options}

    @property
    def running(self) -> bool:
        """Whether its process exists."""
        try:
            if self.pid:
                os.kill(self.pid, 0)
        except ProcessLookupError:
            self.pid = 0
        return self.pid > 0

    async def start(self) -> None:
        """Start it and wait until it listens; raise RuntimeError with the end of its log if it does not."""
        begin = self._log_size()
        self.pid = await self._fork_server.fork(self._command)
        await self._wait_for_event("listening", begin)

    async def reload(self) -> None:
        """Let it take over its changed configuration; raise RuntimeError with the end of its log if it does not."""
        begin = self._log_size()
        self.signal(signal.SIGHUP)
        await self._wait_for_event("reloaded", begin)

    async def _wait_for_event(self, event: str, begin: int) -> None:
        try:
            async with asyncio.timeout(PROCESS_TIMEOUT):
                while self.running:
                    if f'"event": "{event}"'.encode() in self._log_from(begin):
                        return
                    await asyncio.sleep(0.01)
        except TimeoutError:
            pass
        raise RuntimeError(f"not {event}: {self._log_from(begin)[-4000:].decode('utf-8', 'replace')}")

    def _log_size(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0

    def _log_from(self, begin: int) -> bytes:
        if not self.log.exists():
            return b""
        with self.log.open("rb") as file:
            file.seek(begin)
            return file.read()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; do nothing if the process has ended."""
        if self.running:
            os.kill(self.pid, number)

    async def kill(self) -> None:
        """Kill it with SIGKILL and wait until it has ended."""
        self.signal(signal.SIGKILL)
        await self.wait()
        self.kill_times.append(time.monotonic())

    async def wait(self) -> int:
        """Wait until it has ended and return its exit code; -9 if it was killed."""
        code = Path(f"{self.log}.{self.pid}.code")
        async with asyncio.timeout(PROCESS_TIMEOUT):
            while self.running:
                await asyncio.sleep(0.005)
        return int(code.read_text()) if code.exists() else -9

    def count_in_log(self, text: str) -> int:
        """Return how often the text occurs in its log."""
        return self.log.read_text().count(text) if self.log.exists() else 0
