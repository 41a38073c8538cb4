"""The tutorial about a provider plugin, followed exactly in an empty environment, gives the results that it shows."""

import re
import socket
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
PAGE = (REPO / "docs/tutorial/provider-plugin.md").read_text()

pytestmark = pytest.mark.slow


def blocks(language, after):
    """Return the blocks of this language below the line that begins with ``after``."""
    below = PAGE.partition(f"\n{after}")[2]
    assert below, after
    return re.findall(rf"^```{language}\n(.*?)^```$", below, re.MULTILINE | re.DOTALL)


def results_shown(text):
    """Return the numbers of failed and passed tests that the page shows next after this text."""
    return re.findall(r"(?:(\d+) failed, )?(\d+) passed in", PAGE.partition(f"\n{text}")[2])[0]


def results(report):
    return re.findall(r"(?:(\d+) failed, )?(\d+) passed in", report)[-1]


@pytest.fixture(scope="module")
def lesson(environment):
    environment.install(REPO / "plugins/csv")
    environment.run("-m", "gatepost", "new-plugin", "acme-sms", "--channels", "sms")
    return environment.folder / "acme-sms"


def run_tests_of(environment, lesson, code=0):
    return environment.run("-m", "pytest", "-p", "no:cacheprovider", cwd=lesson, code=code)


@contextmanager
def running(environment, *command, until, cwd, **variables):
    """Run a process of the tutorial; the block begins when it has printed ``until``."""
    with subprocess.Popen(
        [environment.python, "-u", *command],
        cwd=cwd,
        env=environment.variables | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        kill_timer = threading.Timer(60.0, process.kill)
        kill_timer.start()
        try:
            output = ""
            while until not in output:
                line = process.stdout.readline()
                assert line, output
                output += line
            kill_timer.cancel()
            yield
        finally:
            kill_timer.cancel()
            process.terminate()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return str(probe.getsockname()[1])


def test_following_the_tutorial_gives_the_results_that_it_shows(environment, lesson):
    assert results(run_tests_of(environment, lesson)) == results_shown("## Begin")

    emulator = lesson / "tests/conftest.py"
    before = emulator.read_text()
    the_class = re.search(r"^REQUIRED_FIELDS.*?(?=^@pytest)", before, re.MULTILINE | re.DOTALL)
    (theirs, *_) = blocks("python", "## First the emulator")
    emulator.write_text(before.replace(the_class[0], f"{theirs}\n\n"))
    assert results(run_tests_of(environment, lesson, code=1)) == results_shown("`refuse`, `take` and all")

    (body, *_) = blocks("python", "## Build Acme's requests")
    (lesson / "acme_sms/messages.py").write_text(body)
    changes = "".join(blocks("diff", "## Build Acme's requests"))
    patched = subprocess.run(
        ["git", "apply", "--verbose", "-"],
        cwd=lesson,
        input=changes,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "offset" not in patched.stderr
    report = run_tests_of(environment, lesson)
    assert results(report) == results_shown("## Update the tests")
    assert re.findall(r"TestConformance: .*", report)[0] in PAGE
    assert int(re.findall(r"TestConformance: (\d+) checks", report)[0]) >= 40

    environment.install(lesson)
    assert "acme-sms" in environment.run("-m", "gatepost", "plugins")
    _send_a_message(environment, lesson)


def _send_a_message(environment, lesson):
    ports = {"9100": free_port(), "8080": free_port()}

    def with_ports(text):
        return re.sub("9100|8080", lambda found: ports[found[0]], text)

    emulator = lesson / "tests/conftest.py"
    (main, *_) = blocks("python", "## Send a message through it")
    imports = "import asyncio\nfrom gatepost.testing.report_sender import AutomaticReports\n"
    head, _, rest = emulator.read_text().partition("\nimport ")
    emulator.write_text(f"{head}\n{imports}import {rest}\n\n{with_ports(main)}")

    folder = environment.folder / "gateway"
    folder.mkdir()
    config, people, *_ = blocks("text", "## Send a message through it")
    (folder / "gatepost.toml").write_text(
        with_ports(config).replace("[server]", f"[server]\nport = {ports['8080']}")
    )
    (folder / "players.csv").write_text(people)
    # The default on most systems; `check` warns that every user can read it.
    (folder / "players.csv").chmod(0o644)
    exported = re.findall(r"^\$ export (.*)$", PAGE, re.MULTILINE)
    secrets = dict(one.split("=") for line in exported for one in line.split())
    gatepost = "-m", "gatepost"
    with running(environment, "tests/conftest.py", until="Acme listens on", cwd=lesson):
        for live in (["--live"], ["--plugin", "acme"]):
            checked = environment.run(*gatepost, "check", *live, cwd=folder, **secrets)
            shown = re.search(r"0 faults, 4 warnings|18 checks, 0 failed", checked)
            assert shown, checked
            assert shown[0] in PAGE
        with running(environment, *gatepost, "serve", until="listening", cwd=folder, **secrets):
            sent = environment.run(
                *gatepost, "send", "sms", "--user", "ann", "--from", "Amazing", cwd=folder, **secrets
            )
    # The states before these depend on the moment.
    for line in ("sent through acme", "status accepted", "status delivered"):
        assert line in sent.splitlines()
        assert f"\n{line}\n" in PAGE
