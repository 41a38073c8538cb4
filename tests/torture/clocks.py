"""Clocks of gateways that can be set: the store's, which is handed in, or that of the whole process."""

import os
import shutil
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path


class StoreClock:
    """Read by ``torture.planted_faults.jumping_clock`` in the gateway."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.put(0)
        self.order: Mapping[str, object] = {
            "plant": "jumping_clock",
            "environment": {"TORTURE_CLOCK": str(self._file)},
        }

    def put(self, seconds: int) -> None:
        """Set it off by so much; at once, since the gateway may be reading it."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(str(seconds))
        fresh.replace(self._file)


class ProcessClock:
    """That of every process that has ``environment``: a library that is preloaded answers for the kernel."""

    def __init__(self, folder: Path) -> None:
        """Raises RuntimeError where the library can't be built."""
        library = folder / "clock.so"
        compiler = shutil.which("cc")
        if compiler is None:
            raise RuntimeError("no C compiler for the library that sets a process's clock")
        source = Path(__file__).with_name("clock.c")
        built = subprocess.run(
            [compiler, "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"],
            check=False,
            capture_output=True,
        )
        if built.returncode:
            raise RuntimeError("the library that sets a process's clock can't be built here")
        self._file = os.open(folder / "process-clock", os.O_RDWR | os.O_CREAT, 0o600)
        self.put(0)
        self.order: Mapping[str, object] = {}
        self.environment = {"LD_PRELOAD": str(library), "TORTURE_CLOCK": str(folder / "process-clock")}

    def put(self, seconds: int) -> None:
        """Set it off by so much."""
        os.pwrite(self._file, struct.pack("=q", seconds * 1_000_000_000), 0)
