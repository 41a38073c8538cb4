"""A real gateway in a process of its own, which tests can kill."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

START_TIMEOUT = 60.0
"""Seconds that a start may take; on a busy machine Python alone needs several."""


class GatewayProcess:
    """``gatepost serve`` with a configuration file; a context manager that leaves no process behind.

    The file ``log`` beside the configuration holds what all its starts have logged.
    """

    def __init__(self, config: Path, *, environment: Mapping[str, str] | None = None) -> None:
        """Take a configuration file, and variables to add to this process's own environment."""
        self.config = config
        self.log = config.with_suffix(".log")
        self.url = ""
        self.environment = {**os.environ, **(environment or {})}
        """The variables of the process; a command about this gateway wants them too."""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The id of the running process."""
        assert self._process is not None, "the gateway is not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> str:
        """Start it, wait until it listens, and return its URL.

        Raises RuntimeError, with its log where it did not start, and where it runs already.
        """
        if self.running:
            raise RuntimeError(f"the gateway runs already, as process {self.pid}: end it first")
        with self.log.open("ab") as log:
            begin = log.tell()
            self._process = subprocess.Popen(  # noqa: S603  our own command with a file that the test wrote
                [sys.executable, "-m", "gatepost", "serve", "--config", str(self.config)],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self.environment,
            )
        output = ""
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            output = self.log.read_bytes()[begin:].decode("utf-8", "replace")
            # The last line may be half-written.
            for line in output.split("\n")[:-1]:
                if '"event": "listening"' in line:
                    self.url = json.loads(line)["url"]
                    return self.url
            if self._process.poll() is not None:
                raise RuntimeError(f"gatepost serve ended with {self._process.returncode}:\n{output}")
            time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"gatepost serve did not listen within {START_TIMEOUT:g} s:\n{output}")

    def kill(self) -> None:
        """End it as a crash does (SIGKILL); do nothing where it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def terminate(self, timeout: float = 60.0) -> int:
        """Ask it to stop (SIGTERM), wait, and return its exit code."""
        assert self._process is not None, "the gateway is not running"
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(timeout)
        self._process = None
        return code

    def wait(self, timeout: float = 60.0) -> int:
        """Wait until it ends by itself, and return its exit code."""
        assert self._process is not None, "the gateway is not running"
        code = self._process.wait(timeout)
        self._process = None
        return code
