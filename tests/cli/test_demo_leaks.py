"""The demo's search for leaked addresses finds every one."""

import time
from types import SimpleNamespace

import pytest

from gatepost.demo import requests, run
from gatepost.testing.smartico import Callback

ANNA = requests.USERS[0]


@pytest.fixture
def environment(tmp_path):
    (tmp_path / "gatepost.db").write_bytes(b"SQLite format 3\0 nothing of anybody")
    (tmp_path / "gatepost.log").write_text('{"event": "listening"}')
    (tmp_path / "contacts.csv").write_text(ANNA.email)
    return SimpleNamespace(folder=tmp_path, smartico=SimpleNamespace(attempts=[]))


def result(**answer):
    return run.Result(request=requests.REQUESTS[0], answer=answer, callbacks=(), arrivals=(), problems=())


def test_the_contacts_themselves_are_no_leak(environment):
    assert run.find_leaks(environment, [result(error_code=0, ext_message_id="x")]) == []


@pytest.mark.parametrize("secret", [ANNA.email, ANNA.phone, ANNA.phone.lstrip("+")])
def test_every_place_is_searched(environment, secret):
    call = Callback(type="email", ext_message_id="x", status="accepted", at=time.time(), query={"to": secret})

    assert run.find_leaks(environment, [result(error_code=2, error_message=f"no {secret}")]) == [
        "what Smartico received"
    ]
    environment.smartico.attempts.append(call)
    (environment.folder / "gatepost.db-wal").write_text(f"page {secret}")
    (environment.folder / "gatepost.log").write_text(secret)
    assert run.find_leaks(environment, []) == ["what Smartico received", "gatepost.db-wal", "gatepost.log"]
