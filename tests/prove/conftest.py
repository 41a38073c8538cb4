import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from gatepost_vonage.testing import VonageEmulator


class Proof:
    """What ``gatepost prove`` left behind."""

    def __init__(self, done: subprocess.CompletedProcess[str], page: Path) -> None:
        self.code = done.returncode
        self.stderr = done.stderr
        self.page = page.read_text() if page.exists() else ""
        self.report = json.loads(done.stdout) if done.stdout else {}

    def found(self, value: str = "") -> set[tuple[str, str]]:
        """Return the places and spellings in which a value was found."""
        return {(one["place"], one["spelling"]) for one in self.report["findings"] if value in one["value"]}

    def exercised(self, rehearsal: str) -> list[tuple[str, str]]:
        (found,) = [one for one in self.report["rehearsals"] if one["name"] == rehearsal]
        return [(one["where"], one["what"]) for one in found["exercised"]]


@pytest.fixture
def prove(tmp_path):
    """Return a function that writes a configuration and runs the command on it."""

    def run(config: str, *arguments: str, **environment: str) -> Proof:
        folder = tmp_path / "operator"
        folder.mkdir()
        (folder / "gatepost.toml").write_text(config)
        page = tmp_path / "proof.html"
        done = subprocess.run(
            [
                *(sys.executable, "-m", "gatepost", "prove", "--json", "--html", str(page), *arguments),
                *("--config", str(folder / "gatepost.toml")),
            ],
            capture_output=True,
            text=True,
            env=os.environ | environment,
            check=False,
        )
        return Proof(done, page)

    return run


@pytest.fixture
def leaky(tmp_path):
    """Install the plugin that leaks; return the environment in which it is found."""
    folder = tmp_path / "dist"
    metadata = folder / "leaky-1.0.dist-info"
    metadata.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("leaky.py"), folder)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: leaky\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[gatepost]\nleaky = leaky:Leaky\n[gatepost.emulators]\nleaky = leaky:LeakyEmulator\n"
    )
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))}


@pytest.fixture(scope="module")
def private_key():
    return VonageEmulator().private_key


@pytest.fixture
def run_python():
    def run(program, environment):
        return subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            env=os.environ | environment,
            check=True,
        ).stdout

    return run


@pytest.fixture
def store_tables():
    def create(url):
        async def make():
            connection = await asyncpg.connect(url)
            await connection.execute("CREATE TABLE players (id int)")
            await connection.close()

        asyncio.run(make())

    return create
