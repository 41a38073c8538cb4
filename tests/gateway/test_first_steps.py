"""The tutorial "First steps", followed command by command: each command prints what the page shows."""

import http.server
import os
import re
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gatepost.testing.configuration import free_port
from gatepost.testing.process import GatewayProcess

PAGE = (Path(__file__).parents[2] / "docs/tutorial/first-steps.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
# Every command of the page with its output. A command may go on after a backslash, or inside of quotes.
COMMANDS = [
    (match[1], match[2])
    for _, block in BLOCKS
    for match in re.finditer(r"^\$ ((?:\\\n|'[^']*'|[^\n'])+)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
]
LIMIT = 60.0
"""Seconds after which a test that would hang has failed."""
ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def shown(command: str) -> list[tuple[str, str]]:
    """Return the commands of the page that begin like this, each with the output that the page shows."""
    return [(found, output) for found, output in COMMANDS if found.startswith(command)]


def lines(text: str) -> list[str]:
    """Return the lines of an output without what differs between runs: ids, times, durations, paths and line breaks."""
    text = ID.sub("ID", text)
    text = re.sub(r"\d{4}-\d\d-\d\d[T ][\d:.]+Z|\w{3}, \d+ \w{3} \d{4} [\d:]+ \+0000|=+\d+=+", "TIME", text)
    text = re.sub(r"\b\d+\.\d\d s\b", "DURATION", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "HOST", text)
    text = re.sub(r"/[^ \n]*?/(gatepost\.db|players\.csv)", r"\1", text)
    text = re.sub(r"\s*\n {3}", " ", text)
    return [" ".join(line.split()) for line in text.splitlines()]


class Reader:
    """A reader who puts the page's two files into a folder and runs its commands there, on free ports."""

    def __init__(self, folder: Path, callback_port: int) -> None:
        self._folder = folder
        self._ports = {"8080": str(free_port()), "9000": str(callback_port)}
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "100",
        }
        (config,) = (text for language, text in BLOCKS if language == "toml")
        self.config = folder / "gatepost.toml"
        self.config.write_text(self._here(config.replace("[server]\n", "[server]\nport = 8080\n")))
        (players,) = (text for _, text in BLOCKS if text.startswith("ext_user_id,"))
        (folder / "players.csv").write_text(players)
        (folder / "players.csv").chmod(0o644)

    def run(self, command: str) -> str:
        ended = subprocess.run(
            ["bash", "-c", self._here(command)],
            cwd=self._folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=LIMIT,
        )
        return ended.stdout

    def expect(self, command: str, output: str) -> str:
        """Run a command until it prints what the page shows; return what it printed."""
        wanted = lines(self._here(output))
        deadline = time.monotonic() + LIMIT
        while lines(printed := self.run(command)) != wanted and time.monotonic() < deadline:
            time.sleep(0.1)
        assert lines(printed) == wanted
        return printed

    def _here(self, text: str) -> str:
        for port, free in self._ports.items():
            text = re.sub(rf"\b{port}\b", free, text)
        return text


@pytest.fixture
def callbacks():
    """A port for callbacks, and the requests that came there, as the second terminal shows them."""
    heard: list[str] = []

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, text, *args):
            heard.append(text % args)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1], heard
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_each_command_prints_what_the_page_shows(tmp_path, callbacks):
    callback_port, heard = callbacks
    reader = Reader(tmp_path, callback_port)
    ((export, _),) = shown("export ")
    first_check, second_check = shown("gatepost check")

    reader.expect(*first_check)
    reader.environment |= dict(variable.split("=", 1) for variable in shlex.split(export)[1:])
    reader.expect(*second_check)
    with GatewayProcess(reader.config, environment=reader.environment):
        ((request, answer),) = shown("curl ")
        message = ID.findall(reader.expect(request.replace("curl ", "curl --silent ", 1), answer))[0]
        ((head, mail),) = shown("head ")
        reader.expect(ID.sub(message, head), mail)
        for command in ("gatepost messages show first-1", "grep "):
            reader.expect(*shown(command)[0])
        (calls,) = (text for _, text in BLOCKS if text.startswith('"GET '))
        assert lines("\n".join(heard)) == lines(calls)
        for command, output in shown("gatepost send"):
            printed, wanted = lines(reader.run(command)), lines(output)
            assert (printed[0], printed[-1]) == (wanted[0], wanted[-1])
            # As the page says: which steps on the way are seen depends on the moments at which the command looks.
            assert set(printed) <= {*wanted, "queued", "sending", "sending through sandbox"}
