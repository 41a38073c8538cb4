"""A console with lively data, and Debian's chromium to look at it."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

TIMEOUT = 60_000
"""Milliseconds. It only ends a test that hangs."""


class Demo(NamedTuple):
    """What `gatepost demo --console` has printed."""

    url: str
    password: str
    config: Path

    @property
    def settings(self):
        """The configuration of its gateway."""
        return tomllib.loads(self.config.read_text())


@pytest.fixture(scope="module")
def chromium():
    """Start the browser."""
    from playwright.sync_api import expect, sync_playwright  # noqa: PLC0415  it takes half a second

    expect.set_options(timeout=TIMEOUT)
    with sync_playwright() as playwright:
        # Chromium's sandbox needs user namespaces, which many containers don't have. It sees our own pages alone.
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def demo(chromium, tmp_path_factory):
    """Run the demo of the console as a user does."""
    folder = tmp_path_factory.mktemp("demo")
    process = subprocess.Popen(
        [sys.executable, "-m", "gatepost", "demo", "--console"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )
    try:
        printed = ""
        for line in process.stdout:
            printed += line
            if "Ctrl-C ends" in line:
                break
        url, password, config = (
            re.search(pattern, printed)[1]
            for pattern in (r"(http://127\.0\.0\.1:\d+)\n", r"password  (\S+)", r"--config (\S+)")
        )
        yield Demo(url, password, Path(config))
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert list(folder.iterdir()) == []


class Tab:
    """A tab in which a user looks at the console."""

    def __init__(self, page, demo, problems):
        self.page, self.demo, self.problems = page, demo, problems

    def open(self, path="/"):
        """Open a page of the console."""
        return self.page.goto(self.demo.url + path)

    def sign_in(self, name, password=None):
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(self.demo.password if password is None else password)
        self.page.get_by_role("button", name="Sign in").click()

    @property
    def title(self):
        return self.page.get_by_role("heading", level=1).inner_text()


@pytest.fixture
def new_tab(chromium, demo):
    """Return a function that opens a browser of its own; whatever its pages complain about fails the test."""
    contexts = []
    problems = []

    def open_tab(**options):
        context = chromium.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(TIMEOUT)
        return add_tab(context)

    def note_failure(request):
        # A page that is left before it was loaded has not failed.
        if request.failure != "net::ERR_ABORTED":
            problems.append(f"{request.url}: {request.failure}")

    def add_tab(context):
        page = context.new_page()
        page.on("console", lambda one: one.type in {"error", "warning"} and problems.append(one.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("requestfailed", note_failure)
        return Tab(page, demo, problems)

    open_tab.beside = lambda tab: add_tab(tab.page.context)
    yield open_tab
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture(scope="module")
def session(chromium, demo):
    """Return the browser state of the operator, who has signed in."""
    context = chromium.new_context()
    tab = Tab(context.new_page(), demo, [])
    tab.open()
    tab.sign_in("maria")
    from playwright.sync_api import expect  # noqa: PLC0415  as above

    expect(tab.page).to_have_url(f"{demo.url}/")
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def maria(new_tab, session):
    """Return a tab in which the operator has signed in."""
    return new_tab(storage_state=session)
