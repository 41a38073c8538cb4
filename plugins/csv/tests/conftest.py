import os

import anyio
import pytest
import structlog
from structlog.testing import LogCapture

from gatepost.hookspecs import Context
from gatepost_csv import CsvSource, Settings


class Players:
    """A contacts file, a source that reads it, and what that logs."""

    def __init__(self, folder):
        self.path = folder / "players.csv"
        self.captured = LogCapture()

    def write(self, text):
        """Rename a new file into its place, as a careful exporter does."""
        fresh = self.path.with_suffix(".new")
        fresh.write_bytes(text if isinstance(text, bytes) else text.encode())
        fresh.replace(self.path)

    def rewrite(self, text, *, keep_time=False):
        """Write into the file that is there."""
        before = self.path.stat()
        with self.path.open("r+b") as file:
            file.write(text.encode())
            file.truncate()
        if keep_time:
            os.utime(self.path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def source(self, **settings):
        log = structlog.wrap_logger(None, processors=[self.captured])
        settings = Settings(path=self.path, **{"check_every": 0.01, **settings})
        return CsvSource(settings, Context(name="players", log=log))

    def logged(self, event="contacts file not taken over, the old contacts stay"):
        return [entry for entry in self.captured.entries if entry["event"] == event]

    def looked_at(self):
        """What was said about rows: problem -> (count, lines)."""
        return {str(e["problem"]): (e["count"], e["lines"]) for e in self.logged("contact rows to look at")}


@pytest.fixture
def players(tmp_path):
    return Players(tmp_path)


@pytest.fixture
def until():
    async def until(condition):
        """Waits for what another thread does: for its log or for what it has changed."""
        with anyio.fail_after(30):
            while not await condition():  # noqa: ASYNC110  a thread sets no event of ours
                await anyio.sleep(0.002)

    return until
