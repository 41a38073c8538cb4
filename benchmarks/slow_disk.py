"""The gateway with 10 ms more for every commit: ``python benchmarks/slow_disk.py PORT CONFIG``.

Only commits are slower, in the thread that writes, as with a slow fsync. The fsyncs of a checkpoint, two in some
dozen commits, are not slowed down.
"""

import os
import sys
import time
from pathlib import Path

from sqlalchemy import Connection, Engine, event

from gatepost.cli import main

COMMIT_DELAY = 0.010
"""Seconds."""


@event.listens_for(Engine, "commit")
def _delay(_connection: Connection) -> None:
    time.sleep(COMMIT_DELAY)


if __name__ == "__main__":
    config = Path(sys.argv[2])
    # The terminal is for the table of results.
    with config.with_suffix(".log").open("ab") as log:
        os.dup2(log.fileno(), 2)
    sys.argv = ["gatepost", "serve", "--config", str(config)]
    main()
