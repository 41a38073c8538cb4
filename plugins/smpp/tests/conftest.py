"""Fixtures: the emulated message centre, instances bound to it, and a message centre of another's making."""

import asyncio
import json
import os
import shutil
import subprocess
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import pytest

from gatepost_smpp import Smpp
from gatepost_smpp.testing import SmppEmulator

SCRIPT = Path(__file__).with_name("message_centre.js")
SYSTEM_ID, PASSWORD = "gatepost", "s3cr3t"


@cache
def module_path():
    """Return where node finds the package; None where it, node or npm is missing."""
    if not (shutil.which("node") and shutil.which("npm")):
        return None
    own = os.environ.get("NODE_PATH", "")
    root = subprocess.run(["npm", "root", "--global"], capture_output=True, text=True, check=False).stdout
    path = os.pathsep.join(one for one in (own, root.strip()) if one)
    found = subprocess.run(
        ["node", "-e", "require('smpp')"],
        env={**os.environ, "NODE_PATH": path},
        capture_output=True,
        check=False,
    )
    return path if found.returncode == 0 else None


class Centre:
    """A running message centre."""

    def __init__(self, process):
        self._process = process
        self.port = 0

    async def read(self):
        return json.loads(await self._process.stdout.readline())

    async def state(self, command="state"):
        """Return what it has taken, delivered and cut so far; carry out a command first."""
        self._process.stdin.write(f"{command}\n".encode())
        return await self.read()

    @property
    def table(self):
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "tls": False,
            "system_id": SYSTEM_ID,
            "password": PASSWORD,
            "default_sender": "Amazing",
            "receipt_ids": "decimal",
        }


@pytest.fixture
def running_centre():
    """``async with running_centre(storm=…) as centre``: npm's package smpp on node; its process ends with the block."""
    if module_path() is None:
        pytest.skip("npm's package smpp is not installed (make programs)")
    return _running_centre


@asynccontextmanager
async def _running_centre(**options):
    options = {"system_id": SYSTEM_ID, "password": PASSWORD, **options}
    process = await asyncio.create_subprocess_exec(
        "node",
        str(SCRIPT),
        json.dumps(options),
        env={**os.environ, "NODE_PATH": module_path()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        limit=2**26,
    )
    try:
        centre = Centre(process)
        centre.port = (await centre.read())["port"]
        yield centre
    finally:
        process.stdin.close()
        await process.wait()


@pytest.fixture
async def provider():
    async with SmppEmulator() as emulator:
        yield emulator


@pytest.fixture
def plugin_type():
    return Smpp
