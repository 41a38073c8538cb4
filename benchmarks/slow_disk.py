"""The gateway on a disk that takes 10 ms more for every commit: ``slow_disk.py PORT CONFIG``.

What is slow is the commit and nothing else, in the thread that writes: as an fsync that takes longer is. The
fsyncs of a checkpoint, two in some dozen commits, stay as they are.
"""

import os
import sys
import time
from pathlib import Path

from sqlalchemy import Connection, Engine, event

from gatepost.cli import main

SLOWER = 0.010


@event.listens_for(Engine, "commit")
def _wait(_connection: Connection) -> None:
    time.sleep(SLOWER)


if __name__ == "__main__":
    config = Path(sys.argv[2])
    # The caller's terminal is for the table.
    with config.with_suffix(".log").open("ab") as log:
        os.dup2(log.fileno(), 2)
    sys.argv = ["gatepost", "serve", "--config", str(config)]
    main()
