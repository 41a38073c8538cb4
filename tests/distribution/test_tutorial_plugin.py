"""The tutorial about a provider plugin, followed exactly in an empty environment, gives the results that it shows."""

import re
import subprocess
import sys
import threading
import tomllib
from contextlib import contextmanager
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
PAGE = (REPO / "docs/tutorial/provider-plugin.md").read_text()

RESULTS = re.compile(r"(?:\d+ failed, )?\d+ passed(?:, \d+ skipped)?(?= in)")

pytestmark = pytest.mark.slow


def blocks(language, after):
    """Return the blocks of this language below the line that begins with ``after``."""
    below = PAGE.partition(f"\n{after}")[2]
    assert below, after
    return re.findall(rf"^```{language}\n(.*?)^```$", below, re.MULTILINE | re.DOTALL)


def results_shown(text):
    """Return the numbers of tests that the page shows next after this text."""
    return RESULTS.findall(PAGE.partition(f"\n{text}")[2])[0]


def results(report):
    return RESULTS.findall(report)[-1]


@pytest.fixture(scope="module")
def lesson(environment):
    for name in ("csv", "sandbox"):
        environment.install(REPO / "plugins" / name)
    environment.run("-m", "gatepost", "new-plugin", "acme-sms", "--channels", "sms")
    return environment.folder / "acme-sms"


def run_tests_of(environment, lesson, code=0):
    return environment.run("-m", "pytest", "-p", "no:cacheprovider", cwd=lesson, code=code)


@contextmanager
def running(environment, *command, until):
    """Run a process of the tutorial; yield what it has printed as soon as ``until`` is a part of that."""
    with subprocess.Popen(
        [environment.python, "-u", *command],
        cwd=environment.folder,
        env=environment.variables,
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
            yield output
        finally:
            kill_timer.cancel()
            process.terminate()


def test_following_the_tutorial_gives_the_results_that_it_shows(environment, lesson):
    assert results(run_tests_of(environment, lesson)) == results_shown("## Begin")

    emulator = lesson / "acme_sms/testing.py"
    head, mark, _ = emulator.read_text().partition("_REQUIRED_FIELDS")
    assert mark
    (theirs, *_) = blocks("python", "## First the emulator")
    emulator.write_text(head + theirs)
    report = run_tests_of(environment, lesson, code=1)
    assert results(report) == results_shown("The attributes at the top")
    assert re.findall(r"^Read first: .*$", report, re.MULTILINE)[0] in PAGE

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
    for check in (["check"], ["format", "--check"]):
        subprocess.run([Path(sys.executable).with_name("ruff"), *check, "--no-cache"], cwd=lesson, check=True)
    environment.run("-m", "mypy", cwd=lesson)

    environment.install(lesson)
    assert "acme-sms" in environment.run("-m", "gatepost", "plugins")
    judged = environment.run("-m", "gatepost", "conformance", "acme-sms").splitlines()
    assert "\n".join(judged[-5:]) in PAGE
    _send_a_message(environment)


def _send_a_message(environment):
    (table, *_) = blocks("text", "## Send a message through it")
    with running(
        environment, "-m", "gatepost", "demo", "--provider", "acme-sms", until="Ctrl-C ends"
    ) as printed:
        assert "sent through acme-sms" in printed
        assert "✓ All 7 requests went as they should." in printed
        folder = Path(re.findall(r"--config (\S+)/gatepost.toml", printed)[0])
        config = (folder / "gatepost.toml").read_text()
        # The demo's emulator has any free port.
        shown, written = (tomllib.loads(re.sub(r":\d+", "", text)) for text in (table, config))
        assert shown["plugins"] == {"acme-sms": written["plugins"]["acme-sms"]}
        assert shown["routes"]["sms"] == written["routes"]["sms"]
        checked = environment.run("-m", "gatepost", "check", "--live", cwd=folder)
        assert " ✓ plugins.acme-sms: acme-sms, opened, ready to send" in checked
        sent = environment.run(
            "-m", "gatepost", "send", "sms", "--user", "hhu1001", "--from", "Amazing", cwd=folder
        )
    # The states before these depend on the moment.
    for line in ("sent through acme-sms", "status accepted", "status delivered"):
        assert line in sent.splitlines()
        assert f"\n{line}\n" in PAGE
