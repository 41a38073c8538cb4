"""What several folders of tests share."""

import sys
from pathlib import Path

import pytest

# The torture bench is a program of several modules; its tests and those of the stores use them.
sys.path.insert(0, str(Path(__file__).parent))

from gatepost.model import Channel
from gatepost.observe import logs
from gatepost.outbox import NewMessage, new_id
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


@pytest.fixture
def new():
    """Makes messages that could be accepted."""

    def make(uid: str = "uid-1", **fields: object) -> NewMessage:
        made = {
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
        return NewMessage(**made)

    return make
