"""Fixtures that several folders of tests share."""

import sys
from pathlib import Path

import pytest

# The torture tests and the fuzzer are programs of several modules, which other tests import too.
sys.path.insert(0, str(Path(__file__).parent))

from gatepost.model import Channel
from gatepost.observe import logs, redaction
from gatepost.outbox import NewMessage, new_id
from sql import mariadb
from torture import postgres


@pytest.fixture(scope="session", autouse=True)
def keep_logging_of_pytest():
    """Keep a command that a test calls in this process from configuring the logging of all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "configure", lambda *_: None)
        yield


@pytest.fixture(autouse=True)
def forget_private_values():
    """Let no test find removed what was private in an earlier one: the values of the last ones stay private a while."""
    redaction._recent_scopes.clear()
    redaction._settings_secrets.clear()


@pytest.fixture(scope="session")
def postgres_server():
    """Start one PostgreSQL server for the whole run; each test creates its own database."""
    with postgres.start_server() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server():
    if not mariadb.is_installed():
        pytest.skip(mariadb.MISSING)
    with mariadb.start_server() as server:
        yield server


@pytest.fixture
def new():
    """Return a function that builds a message that could be accepted."""

    def build(uid: str = "uid-1", **fields: object) -> NewMessage:
        values = {
            "id": new_id(),
            "client": "brand",
            "channel": Channel.EMAIL,
            "uid": uid,
            "fingerprint": b"\x01" * 32,
            "ext_user_id": "anna",
            "preview": "",
            "callback_url": "https://crm.example/status",
            "content": b"content of " + uid.encode(),
            "lifetime": 86_400.0,
            **fields,
        }
        return NewMessage(**values)

    return build
