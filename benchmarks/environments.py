"""Virtual environments for what must not share that of the developers' tools."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from machine import HERE

REPO = HERE.parent


def create(folder: Path, *requirements: object) -> Path:
    """Create an environment with these requirements, which are arguments of ``uv pip install``; return its Python."""
    uv = Path(sys.executable).with_name("uv")
    python = folder / "bin/python"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    command = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python, *requirements]
    subprocess.run(command, check=True)
    return python


@contextmanager
def gatepost_with(*plugins: str) -> Iterator[Path]:
    """Install this checkout and these plugins as an operator does, and yield the Python that has nothing else.

    In the environment of the tools Litestar finds Pydantic, which no operator needs, and loads it.
    """
    with TemporaryDirectory() as folder:
        projects = [REPO, *(REPO / "plugins" / plugin for plugin in plugins)]
        editable = [word for project in projects for word in ("--editable", project)]
        yield create(Path(folder), "--constraint", REPO / "constraints.txt", *editable)
