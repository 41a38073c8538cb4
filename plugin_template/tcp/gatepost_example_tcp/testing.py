"""An emulator of ExampleTcp: a real server on this machine that can fail in the ways that the kit asks for."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Self

import msgspec
from gatepost.testing.features import FailureMode, MessageFeature
from gatepost.testing.kit_emulator import KitEmulator
from gatepost.testing.received import ReceivedMessage

_ERRORS: Mapping[FailureMode, Mapping[str, Any]] = {
    FailureMode.REFUSE: {"error": "bad_recipient"},
    FailureMode.THROTTLE: {"error": "busy", "seconds": 7},
    FailureMode.OUTAGE: {"error": "down"},
    FailureMode.NONSENSE: {"sense": None},
}

_MAX_LINE = 8 * 1024 * 1024
"""Bytes of the longest request."""


class ExampleTcpEmulator(KitEmulator):
    """A server on a free port. Enter it to start the server; leave it to end the server and its connections."""

    failure_modes = frozenset(FailureMode) - {
        FailureMode.DRIP,
        FailureMode.REDIRECT,
        FailureMode.UNTRUSTED,
    }
    message_features = frozenset({MessageFeature.SENDER, MessageFeature.LIFETIME, MessageFeature.CONNECTIONS})

    def __init__(self) -> None:
        self.key = "an-emulated-key-0815"
        self.port = 0
        self.attempts = 0
        """Requests to send, whatever became of them."""
        self.connections = 0
        """Connections so far."""
        self._failure: FailureMode | None = None
        self._taken: list[ReceivedMessage] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def table(self) -> Mapping[str, Any]:
        """The keys of the plugin's table that lead to this emulator."""
        return {"key": self.key, "host": "127.0.0.1", "port": self.port, "tls": False}

    @classmethod
    def table_for_port(cls, port: int) -> Mapping[str, Any]:
        """Return the keys of the table that lead to another port of this machine."""
        return {"port": port}

    def simulate(self, failure: FailureMode | None) -> None:
        """Fail in this way at every request from now on; None: work as usual."""
        self._failure = failure

    def received(self) -> Sequence[ReceivedMessage]:
        """Return every message that was taken, in order."""
        return self._taken

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_MAX_LINE)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while line := await reader.readline():
                answer = await self._answer(msgspec.json.decode(line))
                if answer is None:
                    break
                writer.write(msgspec.json.encode(answer) + b"\n")
        except (ConnectionError, asyncio.CancelledError):
            # The plugin has closed the connection, or the emulator ends.
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _answer(self, request: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the answer to a request; None: the connection is closed instead."""
        if "login" in request:
            right = request["login"] == self.key and self._failure is not FailureMode.DENY
            return {"ok": True} if right else {"error": "wrong_key"}
        self.attempts += "send" in request
        match self._failure:
            case FailureMode.DROP:
                return None
            case FailureMode.HANG:
                await asyncio.Event().wait()
            case FailureMode.DENY:
                return {"error": "wrong_key"}
            case FailureMode.LOSE:
                self._take(request)
                return None
        if self._failure is not None and self._failure in _ERRORS:
            return _ERRORS[self._failure]
        return {"id": self._take(request)} if "send" in request else {"ok": True}

    def _take(self, request: Mapping[str, Any]) -> str:
        """Remember a message and return an id for it."""
        if "send" in request:
            message = ReceivedMessage(
                id=request["reference"],
                recipients=[request["to"]],
                sender=request["from"],
                # <email>
                sender_name=request.get("from_name", ""),
                subject=request.get("subject", ""),
                html=request.get("html", ""),
                # </email>
                text=request["text"],
                lifetime=request["expires_in"],
                raw=msgspec.json.encode(request).decode(),
            )
            self._taken.append(message)
        return secrets.token_hex(8)
