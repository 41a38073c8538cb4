"""The demo finds the addresses that are in its files and answers."""

import time
from types import SimpleNamespace

import pytest

from gatepost.demo import play, scenes
from gatepost.testing.smartico import Callback

ANNA = scenes.PEOPLE[0]


@pytest.fixture
def stage(tmp_path):
    (tmp_path / "gatepost.db").write_bytes(b"SQLite format 3\0 no address")
    (tmp_path / "gatepost.log").write_text('{"event": "listening"}')
    (tmp_path / "contacts.csv").write_text(ANNA.email)
    return SimpleNamespace(folder=tmp_path, smartico=SimpleNamespace(attempts=[]))


def shown(**answer):
    return play.Shown(scene=scenes.SCENES[0], answer=answer, callbacks=(), arrived=(), problems=())


def test_the_contacts_file_is_not_a_leak(stage):
    assert play.leaks(stage, [shown(error_code=0, ext_message_id="x")]) == []


@pytest.mark.parametrize("secret", [ANNA.email, ANNA.phone, ANNA.phone.lstrip("+")])
def test_every_place_is_searched(stage, secret):
    call = Callback(type="email", ext_message_id="x", status="accepted", at=time.time(), query={"to": secret})

    assert play.leaks(stage, [shown(error_code=2, error_message=f"no {secret}")]) == ["what Smartico heard"]
    stage.smartico.attempts.append(call)
    (stage.folder / "gatepost.db-wal").write_text(f"page {secret}")
    (stage.folder / "gatepost.log").write_text(secret)
    assert play.leaks(stage, []) == ["what Smartico heard", "gatepost.db-wal", "gatepost.log"]
