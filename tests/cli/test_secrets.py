"""No command shows the variables of a plugin that failed."""

import asyncio
import os
import sys

import pytest

SECRET = "vorpal-and-snicker-snack"

PLUGIN = """\
import os

def connect(key):
    headers = {"Authorization": f"Bearer {key}"}
    raise LookupError(headers)

connect(os.environ["TULGEY_KEY"])
"""

CONFIG = """\
[clients.brand]
authorization = ["env:TULGEY_KEY"]
allow_ips = ["127.0.0.1"]
[plugins.tulgey]
use = "tulgey"
"""


@pytest.fixture
def environment(tmp_path):
    """Return an environment with an installed plugin that reads a secret and then fails to be imported."""
    metadata = tmp_path / "site" / "tulgey-1.0.dist-info"
    metadata.mkdir(parents=True)
    (tmp_path / "site" / "tulgey.py").write_text(PLUGIN)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tulgey\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[gatepost]\ntulgey = tulgey:Plugin\n")
    (tmp_path / "gatepost.toml").write_text(CONFIG)
    path = os.pathsep.join(filter(None, [str(tmp_path / "site"), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "TULGEY_KEY": SECRET, "COLUMNS": "300"}


async def test_a_plugin_that_cannot_be_imported_is_named_without_its_variables(environment, tmp_path):
    async def output_of(*command):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gatepost", *command),
            cwd=tmp_path,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        return (await process.communicate())[0].decode()

    commands = [("plugins",), ("config",), ("check",)]
    for command, text in zip(
        commands, await asyncio.gather(*(output_of(*one) for one in commands)), strict=True
    ):
        assert "the distribution tulgey can't be imported (LookupError" in text, (command, text)
        assert "Traceback" not in text, command
        assert SECRET not in text, command
