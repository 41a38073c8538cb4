"""What several folders of tests share."""

import sys
from pathlib import Path

import pytest

# The torture bench is a program of several modules; its tests and those of the stores use them.
sys.path.insert(0, str(Path(__file__).parent))

from gatepost.observe import logs
from torture import postgres


@pytest.fixture(scope="session", autouse=True)
def logging_is_pytests():
    """A command that a test calls in this process must not set up the logging of all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "configure", lambda *_: None)
        yield


@pytest.fixture(scope="session")
def postgres_server():
    """One PostgreSQL for the whole run; every test makes a database of its own."""
    with postgres.running() as server:
        yield server
