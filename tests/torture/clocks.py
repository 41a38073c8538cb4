"""Clocks of a gateway that a test can set: the clock of the store, or the clock of the whole process."""

import os
import shutil
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path


class StoreClock:
    """The clock of the store; ``planted_defects.shift_store_clock`` reads its offset in the gateway."""

    planted_defect = "shift_store_clock"

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.shift(0)
        self.environment: Mapping[str, str] = {"TORTURE_CLOCK": str(self._file)}

    def shift(self, seconds: int) -> None:
        """Set the offset from the real time."""
        # The file is replaced as a whole, because the gateway may read it at any moment.
        new = self._file.with_suffix(".new")
        new.write_text(str(seconds))
        new.replace(self._file)


class ProcessClock:
    """The clock of every process started with ``environment``, through a preloaded library (``clock.c``)."""

    planted_defect = ""

    def __init__(self, folder: Path) -> None:
        """Build the library; raise RuntimeError if that is not possible here."""
        library = folder / "clock.so"
        compiler = shutil.which("cc")
        if compiler is None:
            raise RuntimeError("there is no C compiler for the library that shifts a process's clock")
        source = Path(__file__).with_name("clock.c")
        compiled = subprocess.run(
            [compiler, "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"],
            check=False,
            capture_output=True,
        )
        if compiled.returncode:
            raise RuntimeError("the library that shifts a process's clock cannot be built here")
        path = folder / "process-clock"
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self.shift(0)
        self.environment: Mapping[str, str] = {"LD_PRELOAD": str(library), "TORTURE_CLOCK": str(path)}

    def shift(self, seconds: int) -> None:
        """Set the offset from the real time."""
        os.pwrite(self._file, struct.pack("=q", seconds * 1_000_000_000), 0)
