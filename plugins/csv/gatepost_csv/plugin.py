"""The plugin's hooks, and the task that watches the file."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import ClassVar

import msgspec

from gatepost.errors import ConfigError, Fault, Unavailable
from gatepost.hookspecs import ContactsState, Context, HasLifespan, MemorySource, UserFinder, hookimpl
from gatepost.model import Channel, Contact, Secret
from gatepost_csv.address_search import AddressSearch
from gatepost_csv.parser import BadFile
from gatepost_csv.settings import Settings
from gatepost_csv.snapshot import Fingerprint, Snapshot, read_fingerprint, read_snapshot
from gatepost_csv.spellings import Spellings

MAX_USERS = 100
"""Users with the same address or number that are found."""

_PAUSE = 0.0002
"""Seconds that the reading thread releases the interpreter after each slice of its work."""


class _Stopping(Exception):
    """The plugin stops, so nothing needs the file that a thread is reading."""


class CsvSource(HasLifespan, MemorySource, UserFinder):
    """A contact source that holds the contacts of a CSV file in memory."""

    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[msgspec.Struct]] = Settings

    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._log = context.log
        self._describe = context.describe_contacts
        self._current: Snapshot | None = None
        self._stopping = threading.Event()
        self._last_refusal = ""
        self._addresses = AddressSearch(self._search, context.default_region)

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Read the file, and watch it until the plugin stops."""
        try:
            fingerprint = await self._read_first()
            watcher = asyncio.create_task(self._watch(fingerprint))
            try:
                yield
            finally:
                watcher.cancel()
                await asyncio.wait([watcher])
        finally:
            # A thread can't be cancelled: the reading thread ends itself at its next pause.
            self._stopping.set()
            self._current = None

    @hookimpl
    def find_contact(self, ext_user_id: str) -> Contact | None:
        if self._current is None:
            raise Unavailable("the contacts file is not read yet")
        return self._current.contacts.find(ext_user_id)

    @hookimpl
    async def find_user(self, channel: Channel, recipient: Secret) -> Sequence[str]:
        return await self._addresses.find(channel, recipient)

    def _search(self, wanted: Sequence[Spellings]) -> Sequence[Sequence[str]]:
        """Search the contacts of the current file; blocks. Raises Unavailable when they are replaced meanwhile."""
        if self._current is not None:
            with suppress(ValueError, _Stopping):
                return self._current.contacts.search(wanted, MAX_USERS, self._pause)
        raise Unavailable("the contacts file is not read yet, or was replaced during the search")

    async def _read_first(self) -> Fingerprint:
        try:
            first = await asyncio.to_thread(self._read)
        except (BadFile, OSError) as error:
            raise ConfigError([Fault("path", f"{self._settings.path}: {_problem(error)}")]) from None
        self._use(first)
        return first.fingerprint

    def _read(self) -> Snapshot:
        return read_snapshot(self._settings.path, self._settings.delimiter, self._pause)

    def _read_replacement(self) -> Snapshot:
        """Read a file that replaces the current one; raise BadFile also if it seems to be incomplete."""
        new = self._read()
        try:
            self._compare(new)
        except BadFile:
            new.contacts.release(self._pause)
            raise
        return new

    def _pause(self) -> None:
        """Let other threads run; the reading thread calls it."""
        if self._stopping.wait(_PAUSE):
            raise _Stopping

    def _use(self, new: Snapshot) -> Snapshot | None:
        """Answer from this snapshot from now on; return the previous one."""
        old, self._current = self._current, new
        self._last_refusal = ""
        self._describe(_state(new))
        self._log.info("contacts_read", users=len(new.contacts))
        for problem, count in new.problems.counts.items():
            self._log.warning(
                "contact_rows_with_problems", problem=problem, count=count, lines=new.problems.lines[problem]
            )
        return old

    async def _watch(self, handled: Fingerprint | None) -> None:
        previous = handled
        while True:
            await asyncio.sleep(self._settings.check_every)
            current = await asyncio.to_thread(read_fingerprint, self._settings.path)
            # The same at two checks: the program that writes the file has finished, or pauses at least.
            if current == previous != handled:
                handled = await self._replace(current, handled)
            elif self._last_refusal and self._current and current == self._current.fingerprint:
                # The file in use is back, or can be reached again.
                self._last_refusal = ""
                self._describe(_state(self._current))
            previous = current

    async def _replace(self, current: Fingerprint | None, handled: Fingerprint | None) -> Fingerprint | None:
        """Use the changed file or log why not; return the fingerprint that needs no further action."""
        try:
            new = await asyncio.to_thread(self._read_replacement)
        except BadFile as error:
            self._log_refusal(error.problem, line=error.line)
            return current
        except OSError as error:
            self._log_refusal(_problem(error))
            return handled  # it may become readable without a change: try again at each check
        except Exception as error:  # noqa: BLE001  the watch goes on after any error
            self._log_refusal(f"{type(error).__name__} while it was read")
            return current
        old = self._use(new)
        if old is not None:
            await asyncio.to_thread(old.contacts.release, self._pause)
        return new.fingerprint

    def _compare(self, new: Snapshot) -> None:
        old = self._current
        if old is None:  # the plugin stops
            raise _Stopping
        if 2 * len(new.contacts) < len(old.contacts):
            raise BadFile(
                f"{len(new.contacts):,} users, fewer than half of the {len(old.contacts):,} in use; if that "
                "is right, restart the gateway"
            )
        if old.contacts.has_blocked and not new.contacts.has_blocked:
            raise BadFile(
                "no column `blocked`, unlike the file in use, so that every user could be contacted; if that is right, "
                "restart the gateway"
            )
        if old.ends_with_line_break and not new.ends_with_line_break:
            raise BadFile("no line break at its end, unlike the file in use; the export may not be finished")

    def _log_refusal(self, problem: str, line: int = 0) -> None:
        """Log once, and not at every check, why the new file is refused. The current contacts stay in use."""
        refusal = f"{line} {problem}"
        if refusal != self._last_refusal:
            self._log.error("contacts_file_refused", problem=problem, line=line)
            if self._current is not None:
                where = f"line {line}: " if line else ""
                self._describe(_state(self._current, f"the new file is refused: {where}{problem}"))
        self._last_refusal = refusal


def _state(snapshot: Snapshot, problem: str = "") -> ContactsState:
    written_at = snapshot.fingerprint.modified_ns / 1_000_000_000
    return ContactsState(users=len(snapshot.contacts), as_of=written_at, problem=problem)


def _problem(error: Exception) -> str:
    return (error.strerror or "can't be read") if isinstance(error, OSError) else str(error)
