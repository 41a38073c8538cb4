"""The guide "Contacts from your account service", followed command by command."""

import os
import re
import shlex
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from gatepost.testing.configuration import free_port
from gatepost.testing.process import GatewayProcess

PAGE = (Path(__file__).parents[2] / "docs/how-to/contacts-accounts.md").read_text()
BLOCKS = [
    (language, textwrap.dedent(text))
    for language, text in re.findall(r"^ *```(\w+)\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL)
]
COMMANDS = [
    found for _, text in BLOCKS for found in re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE)
]
LIMIT = 60.0
"""Seconds after which a test that would hang has failed."""


def outputs(command: str) -> list[tuple[str, str]]:
    """Return the commands of the page that begin like this, each with the output that the page shows."""
    return [(found, output) for found, output in COMMANDS if found.startswith(command)]


def pattern(output: str) -> str:
    """Return a pattern of what the page shows: a line of three dots stands for any lines, and ids differ."""
    shown_id = re.escape("01a218a5-5ac4-753c-abb4-7c66d5cc0549")
    lines = [r"(?:.*\n)*?" if line == "..." else re.escape(line) + r" *\n" for line in output.splitlines()]
    return "".join(lines).replace(shown_id, "[0-9a-f-]{36}")


@pytest.fixture
def reader(tmp_path):
    """Write the files of the page and start its service; return a function that runs a command of the page."""
    service_port = str(free_port())
    ((export, _),) = outputs("export ")
    environment = {
        **os.environ,
        **dict(variable.split("=", 1) for variable in shlex.split(export)[1:]),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "200",
    }
    (service,) = (text for language, text in BLOCKS if language == "python")
    (config,) = (text for language, text in BLOCKS if language == "toml")
    (tmp_path / "service.py").write_text(service.replace("8001", service_port))
    port = str(free_port())
    config = config.replace("[server]\n", "[server]\nport = 8080\n").replace("8080", port)
    (tmp_path / "gatepost.toml").write_text(config.replace("8001", service_port))
    process = subprocess.Popen(
        [sys.executable, "service.py"], cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", int(service_port)), 1).close()
            break
        except OSError:
            time.sleep(0.05)

    def run(command: str) -> str:
        ended = subprocess.run(
            shlex.split(command),
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=LIMIT,
        )
        return ended.stdout

    yield run, environment, process, tmp_path
    process.kill()
    process.wait()


@pytest.mark.slow
def test_each_command_prints_what_the_page_shows(reader):
    run, environment, service, folder = reader
    ((check, output),) = outputs("gatepost check")
    printed = run(check)
    assert re.fullmatch(pattern(output), printed), printed
    with GatewayProcess(folder / "gatepost.toml", environment=environment) as gateway:
        sends = outputs("gatepost send")
        assert len(sends) == 3
        for command, output in sends:
            printed = run(command)
            assert re.fullmatch(pattern(output), printed), printed
        (mail,) = (folder / "mailbox").glob("*.eml")
        assert "To: ann@example.com" in mail.read_text()
        # As the page says: without the service the message waits.
        service.kill()
        service.wait()
        printed = run(f"{sends[0][0]} --wait 2")
        assert printed.startswith("accepted as ")
        assert "no last status" in printed
        log = gateway.log.read_text()
    assert "contact_source_unavailable" in log
    assert "example.com" not in log.replace("sandbox", "")
