"""The plugin: reads the file at the start, watches it, answers from what was read last."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from gatepost.errors import ConfigError, Fault, Unavailable
from gatepost.hookspecs import API_VERSION, Context, HasLifespan, MemorySource, hookimpl
from gatepost.model import Contact
from gatepost_csv.reading import Fingerprint, Snapshot, look, read
from gatepost_csv.rows import BadFile

_BREATH = 0.0002
"""Seconds. The reading thread lets go of the interpreter for so long after each slice of its work."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A ``[plugins.NAME]`` table with ``use = "csv"``."""

    path: Annotated[
        Path,
        Meta(
            description="UTF-8; its first line names the columns ext_user_id, email, phone and any others",
            examples=["contacts.csv"],
        ),
    ]
    delimiter: Annotated[Literal[",", ";", "\t", "|"], Meta(description="what stands between two fields")] = (
        ","
    )
    check_every: Annotated[
        float,
        Meta(
            ge=0.01,
            le=3600,
            description="seconds between two looks at the file; it is read again when two in a row found it alike",
        ),
    ] = 5.0


class _Leaving(Exception):
    """Ends a reading whose result nobody waits for any more."""


class CsvSource(HasLifespan, MemorySource):
    """Finds contacts in a CSV file."""

    api_version: ClassVar[int] = API_VERSION
    settings_type: ClassVar[type[msgspec.Struct]] = Settings

    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._log = context.log
        self._current: Snapshot | None = None
        self._leaving = threading.Event()
        self._complaint = ""

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Reads the file, and then watches it until the end."""
        try:
            judged = await self._first()
            watcher = asyncio.create_task(self._watch(judged))
            try:
                yield
            finally:
                watcher.cancel()
                await asyncio.wait([watcher])
        finally:
            # A thread can't be cancelled; this one leaves by itself at its next breath.
            self._leaving.set()
            self._current = None

    @hookimpl
    def find_contact(self, ext_user_id: str) -> Contact | None:
        if self._current is None:
            raise Unavailable("the contacts are not read yet")
        return self._current.contacts.find(ext_user_id)

    async def _first(self) -> Fingerprint:
        try:
            first = await asyncio.to_thread(self._read)
        except (BadFile, OSError) as error:
            raise ConfigError([Fault("path", f"{self._settings.path}: {_problem(error)}")]) from None
        self._use(first)
        return first.fingerprint

    def _read(self) -> Snapshot:
        return read(self._settings.path, self._settings.delimiter, self._breathe)

    def _read_successor(self) -> Snapshot:
        """Read a file that is to follow the one in use; raises BadFile also where it is no likely successor."""
        new = self._read()
        try:
            self._compare(new)
        except BadFile:
            new.contacts.release(self._breathe)
            raise
        return new

    def _breathe(self) -> None:
        """Lets the other threads run; called by the reading one."""
        if self._leaving.wait(_BREATH):
            raise _Leaving

    def _use(self, snapshot: Snapshot) -> Snapshot | None:
        """Answer from this file from now on; returns the one before it."""
        old, self._current = self._current, snapshot
        self._complaint = ""
        self._log.info("contacts read", users=len(snapshot.contacts))
        for problem, count in snapshot.tally.counts.items():
            self._log.warning(
                "contact rows to look at", problem=problem, count=count, lines=snapshot.tally.lines[problem]
            )
        return old

    async def _watch(self, judged: Fingerprint | None) -> None:
        last = judged
        while True:
            await asyncio.sleep(self._settings.check_every)
            now = await asyncio.to_thread(look, self._settings.path)
            # Twice the same: whoever writes the file has stopped, or at least paused for that long.
            if now == last != judged:
                judged = await self._judge(now, judged)
            last = now

    async def _judge(self, seen: Fingerprint | None, judged: Fingerprint | None) -> Fingerprint | None:
        """Take the changed file over or say why not; returns the fingerprint that needs no other look."""
        try:
            new = await asyncio.to_thread(self._read_successor)
        except BadFile as error:
            self._complain(error.problem, line=error.line)
            return seen
        except OSError as error:
            self._complain(_problem(error))
            return judged  # it may become readable without changing: try again at each look
        except Exception as error:  # noqa: BLE001  watching goes on, whatever this file has led to
            self._complain(f"{type(error).__name__} while it was read")
            return seen
        old = self._use(new)
        if old is not None:
            await asyncio.to_thread(old.contacts.release, self._breathe)
        return new.fingerprint

    def _compare(self, new: Snapshot) -> None:
        old = self._current
        if old is None:  # the gateway stops
            raise _Leaving
        if 2 * len(new.contacts) < len(old.contacts):
            raise BadFile(
                f"{len(new.contacts):,} users, fewer than half of the {len(old.contacts):,} in use; if that "
                "is right, restart the gateway"
            )
        if old.closed and not new.closed:
            raise BadFile("no line break at its end, unlike the file in use: half-written?")

    def _complain(self, problem: str, line: int = 0) -> None:
        """Say once, and not at every look, why the file is not taken over."""
        complaint = f"{line} {problem}"
        if complaint != self._complaint:
            self._log.error("contacts file not taken over, the old contacts stay", problem=problem, line=line)
        self._complaint = complaint


def _problem(error: Exception) -> str:
    return (error.strerror or "can't be read") if isinstance(error, OSError) else str(error)
