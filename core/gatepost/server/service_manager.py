"""What the service manager is told: the protocol of sd_notify(3), which systemd understands."""

import asyncio
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress


class ServiceManager:
    """The manager that has started this process; without one nothing is sent."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # A socket without a file begins with a zero byte.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        is_own = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        interval = environment.get("WATCHDOG_USEC", "")
        self.watchdog = int(interval) / 1e6 if is_own and interval.isdecimal() else 0.0
        """Seconds without a sign of life after which the manager ends this process; 0: it does not watch."""

    def ready(self) -> None:
        """Say that requests are accepted, at the start and after a reload."""
        self._send("READY=1", "STATUS=accepts requests")

    def waiting(self, what: str) -> None:
        """Say for what the start waits."""
        self._send(f"STATUS=waits for {what}")

    def reloading(self) -> None:
        """Say that a reload has begun; ``ready`` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the stop has begun."""
        self._send("STOPPING=1", "STATUS=finishes what it has in hand")

    async def watch(self) -> None:
        """Say again and again that the event loop turns, until cancelled, if the manager wants to know it."""
        while self.watchdog:
            self._send("WATCHDOG=1")
            # Half of the time, as sd_watchdog_enabled(3) advises.
            await asyncio.sleep(self.watchdog / 2)

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        # The manager may have gone, or may read slowly: neither is a reason to wait or to stop.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
            own.setblocking(False)  # noqa: FBT003  the standard library's signature
            own.sendto("\n".join(lines).encode(), self._address)
