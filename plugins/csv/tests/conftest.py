"""Fixtures: a contacts file, sources that read it, and their log."""

import gzip
import os

import anyio
import pytest
import structlog
from structlog.testing import LogCapture

from gatepost.hookspecs import Context
from gatepost_csv import CsvSource, Settings


class ContactsFile:
    """A contacts file, and the log of the sources that read it."""

    def __init__(self, folder):
        self.path = folder / "players.csv"
        self.captured = LogCapture()
        self.described = []
        """What the sources said of their contacts, in order."""
        self.warnings = []
        """What the sources warned of when they opened: key and problem."""

    def write(self, text):
        """Write a new file and rename it into place, as a careful exporter does."""
        fresh = self.path.with_suffix(".new")
        fresh.write_bytes(text if isinstance(text, bytes) else text.encode())
        fresh.replace(self.path)

    def rewrite(self, text, *, keep_time=False):
        """Write into the existing file."""
        before = self.path.stat()
        with self.path.open("r+b") as file:
            file.write(text.encode())
            file.truncate()
        if keep_time:
            os.utime(self.path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def source(self, default_region="", **settings):
        log = structlog.wrap_logger(None, processors=[self.captured])
        settings = Settings(**{"path": self.path, "check_every": 0.01, **settings})
        context = Context(
            name="players",
            log=log,
            default_region=default_region,
            describe_contacts=self.described.append,
            warn=lambda key, problem: self.warnings.append((key, problem)),
        )
        return CsvSource(settings, context)

    def logged(self, event="contacts_file_refused"):
        return [entry for entry in self.captured.entries if entry["event"] == event]

    def row_problems(self):
        """The logged problems of rows: problem -> (count, lines)."""
        return {
            str(e["problem"]): (e["count"], e["lines"]) for e in self.logged("contact_rows_with_problems")
        }


class Folder(ContactsFile):
    """A folder of contacts files."""

    def __init__(self, folder):
        super().__init__(folder)
        self.path = folder / "contacts"
        self.path.mkdir()

    def put(self, name, text):
        """Write a file and rename it into place, compressed if its name says so."""
        content = gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
        fresh = self.path / f"{name}.new"
        fresh.write_bytes(content)
        fresh.replace(self.path / name)

    def problem(self):
        """Return what the sources have said last of a problem."""
        return self.described[-1].problem


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


@pytest.fixture
def contacts_file(tmp_path):
    return ContactsFile(tmp_path)


@pytest.fixture
def until():
    async def until(condition):
        """Wait for something that another thread does: for its log or for a change that it makes."""
        with anyio.fail_after(60):
            while not await condition():  # noqa: ASYNC110  a thread sets no event of ours
                await anyio.sleep(0.002)

    return until
