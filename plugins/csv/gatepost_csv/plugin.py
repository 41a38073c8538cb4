"""The plugin's hooks, and the task that watches the files."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import ClassVar

import msgspec

from gatepost.errors import ConfigError, Fault, Unavailable
from gatepost.hookspecs import ContactsState, Context, HasLifespan, MemorySource, UserFinder, hookimpl
from gatepost.model import Channel, Contact, Secret
from gatepost_csv.address_search import AddressSearch
from gatepost_csv.bad_file import BadFile
from gatepost_csv.columns import misspelt_names
from gatepost_csv.files import Fingerprints, read_fingerprints
from gatepost_csv.settings import Settings
from gatepost_csv.snapshot import Snapshot, check_replacement, read_snapshot
from gatepost_csv.spellings import Spellings

MAX_USERS = 100
"""Users with the same address or number that are found."""

_MAX_PLACES = 3
"""Contradictions that an operator is told of; the log has more."""

_PAUSE = 0.0002
"""Seconds that the reading thread releases the interpreter after each slice of its work."""


class _Stopping(Exception):
    """The plugin stops, so nothing needs the files that a thread is reading."""


class CsvSource(HasLifespan, MemorySource, UserFinder):
    """A contact source that holds the contacts of CSV files in memory."""

    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[msgspec.Struct]] = Settings

    def __init__(self, settings: Settings, context: Context) -> None:
        if faults := [
            Fault(f"columns.{name}", f"must be written {meant}")
            for name, meant in misspelt_names(settings.columns)
        ]:
            raise ConfigError(faults)
        self._settings = settings
        self._log = context.log
        self._describe = context.describe_contacts
        self._warn = context.warn
        self._current: Snapshot | None = None
        self._stopping = threading.Event()
        self._last_refusal = ""
        self._addresses = AddressSearch(self._search, context.default_region)

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Read the files, and watch them until the plugin stops."""
        try:
            fingerprints = await self._read_first()
            watcher = asyncio.create_task(self._watch(fingerprints))
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
        """Search the contacts in use; blocks. Raises Unavailable when they are replaced meanwhile."""
        if self._current is not None:
            with suppress(ValueError, _Stopping):
                return self._current.contacts.search(wanted, MAX_USERS, self._pause)
        raise Unavailable("the contacts file is not read yet, or was replaced during the search")

    async def _read_first(self) -> Fingerprints:
        try:
            first = await asyncio.to_thread(self._read)
        except (BadFile, OSError) as error:
            at_fault = error.file if isinstance(error, BadFile) else error.filename
            raise ConfigError(
                [Fault("path", f"{at_fault or self._settings.path}: {_problem(error)}")]
            ) from None
        self._use(first)
        if problem := _contradictions(first):
            self._warn("path", problem)
        return first.fingerprints

    def _read(self) -> Snapshot:
        return read_snapshot(self._settings, self._pause)

    def _read_replacement(self) -> Snapshot:
        """Read files that replace the current ones; raise BadFile also if they seem to be incomplete."""
        new = self._read()
        try:
            if self._current is None:
                raise _Stopping
            check_replacement(self._current, new)
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
        for file in new.files:
            for problem, count in file.problems.counts.items():
                self._log.warning(
                    "contact_rows_with_problems",
                    file=file.path.name,
                    problem=problem,
                    count=count,
                    lines=file.problems.lines[problem],
                )
        if new.conflicts.users:
            self._log.error(
                "contact_files_contradict", count=new.conflicts.users, places=new.conflicts.places
            )
        return old

    async def _watch(self, handled: Fingerprints | None) -> None:
        previous = handled
        while True:
            await asyncio.sleep(self._settings.check_every)
            current = await asyncio.to_thread(read_fingerprints, self._settings.path)
            # The same at two checks: the program that writes the files has finished, or pauses at least.
            if current == previous != handled:
                handled = await self._replace(current, handled)
            elif self._last_refusal and self._current and current == self._current.fingerprints:
                # The files in use are back, or can be reached again.
                self._last_refusal = ""
                self._describe(_state(self._current))
            previous = current

    async def _replace(
        self, current: Fingerprints | None, handled: Fingerprints | None
    ) -> Fingerprints | None:
        """Use the changed files or log why not; return the fingerprints that need no further action."""
        try:
            new = await asyncio.to_thread(self._read_replacement)
        except BadFile as error:
            self._log_refusal(error.problem, error.file, error.line)
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
        return new.fingerprints

    def _log_refusal(self, problem: str, file: Path | None = None, line: int = 0) -> None:
        """Log once, and not at every check, why the new files are refused. The current contacts stay in use."""
        name = file.name if file and file != self._settings.path else ""
        where = ", ".join([*([name] if name else []), *([f"line {line:,}"] if line else [])])
        refusal = f"{where}: {problem}" if where else problem
        if refusal != self._last_refusal:
            self._log.error("contacts_file_refused", problem=problem, file=name, line=line)
            if self._current is not None:
                self._describe(_state(self._current, f"the new file is refused: {refusal}"))
        self._last_refusal = refusal


def _state(snapshot: Snapshot, refusal: str = "") -> ContactsState:
    return ContactsState(
        users=len(snapshot.contacts),
        as_of=snapshot.written_at,
        problem="; ".join(filter(None, (refusal, _contradictions(snapshot)))),
    )


def _contradictions(snapshot: Snapshot) -> str:
    """Return where files contradict each other; empty: nowhere."""
    found = snapshot.conflicts
    if not found.users:
        return ""
    places = "; ".join(found.places[:_MAX_PLACES])
    return f"files contradict each other about {found.users:,} of the users, who get no messages: {places}"


def _problem(error: Exception) -> str:
    return (error.strerror or "can't be read") if isinstance(error, OSError) else str(error)
