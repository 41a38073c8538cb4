"""The trail: a line for each step of a message, without anything private, whatever Smartico's ids are."""

import asyncio
import io
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gatepost.observe.trail import Trail


@pytest.fixture
def stream(monkeypatch):
    """Let the log write to a text stream of the test, as the command that runs configures it."""
    stream = io.StringIO()
    root, ours = logging.getLogger(), logging.getLogger("gatepost")
    monkeypatch.setattr(root, "handlers", [logging.StreamHandler(stream)])
    monkeypatch.setattr(ours, "level", logging.INFO)
    ours.manager._clear_cache()
    yield stream
    ours.manager._clear_cache()


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def accept(trail, **fields):
    trail.accepted(
        "id-1", **{"client": "brand", "channel": "email", "uid": "uid-1", "user": "anna", **fields}
    )


async def test_the_lines_of_one_turn_are_written_together_in_their_order(stream):
    trail = Trail("ids")
    accept(trail)
    trail.tried(
        "id-1", client="brand", uid="uid-1", instance="relay", outcome="sent", code="", seconds=0.12345
    )
    trail.recorded("id-1", client="brand", status="accepted", code="", instance="relay")
    trail.acknowledged("id-1", client="brand", status="accepted", attempt=1)
    assert stream.getvalue() == ""
    await asyncio.sleep(0)
    found = lines(stream)
    assert [one["event"] for one in found] == [
        "message_accepted",
        "message_tried",
        "status_recorded",
        "status_acknowledged",
    ]
    assert {one["message"] for one in found} == {"id-1"}
    assert {key: found[0][key] for key in ("client", "channel", "uid", "level")} == {
        "client": "brand",
        "channel": "email",
        "uid": "uid-1",
        "level": "info",
    }
    assert found[1]["seconds"] == 0.123
    assert found[0]["timestamp"].endswith("Z")


@pytest.mark.parametrize(("setting", "user"), [("ids", None), ("users", "anna")])
async def test_users_are_in_it_only_where_the_setting_says_so(stream, setting, user):
    trail = Trail(setting)
    accept(trail)
    trail.flush()
    assert lines(stream)[0].get("user") == user


async def test_off_or_a_higher_level_writes_nothing(stream):
    accept(Trail("off"))
    logging.getLogger("gatepost").setLevel(logging.WARNING)
    accept(Trail("ids"))
    await asyncio.sleep(0)
    assert stream.getvalue() == ""


async def test_an_id_that_looks_like_an_address_or_a_number_is_hidden(stream):
    trail = Trail("users")
    accept(trail, uid="anna@players.example", user="+447700900100")
    trail.flush()
    assert "anna@" not in stream.getvalue()
    assert "7700900100" not in stream.getvalue()


async def test_a_log_that_cannot_be_written_stops_nothing(stream):
    trail = Trail("ids")
    stream.close()
    accept(trail)
    trail.flush()


async def test_a_line_that_cannot_be_encoded_holds_no_later_one_back(stream):
    trail = Trail("ids")
    accept(trail, client=object())
    with pytest.raises(TypeError):
        trail.flush()
    accept(trail)
    await asyncio.sleep(0)
    assert [one["client"] for one in lines(stream)] == ["brand"]


@given(uid=st.text(max_size=50))
def test_any_uid_is_one_line(uid):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    before, root.handlers = root.handlers, [handler]
    level = logging.getLogger("gatepost").level
    logging.getLogger("gatepost").setLevel(logging.INFO)
    try:
        asyncio.run(_accept_once(uid))
    finally:
        root.handlers = before
        logging.getLogger("gatepost").setLevel(level)
    line, rest = stream.getvalue().split("\n")
    assert not rest
    json.loads(line)


async def _accept_once(uid):
    trail = Trail("ids", "json")
    accept(trail, uid=uid)
    trail.flush()


def test_lines_for_people_go_through_the_log(stream):
    with capture_logs() as records:
        accept(Trail("ids", "console"), uid="anna@players.example")
    assert records == [
        {
            "event": "message_accepted",
            "log_level": "info",
            "message": "id-1",
            "client": "brand",
            "channel": "email",
            "uid": "[redacted]",
        }
    ]


@pytest.mark.parametrize("end", ["\n", "\r", "\x0b", "\x1c", "\x85", "\u2028", "\u2029"])
async def test_an_id_cannot_end_a_line(stream, end):
    uid = f'1{end}{{"event": "message_accepted", "message": "forged"}}'
    accept(Trail("ids"), uid=uid)
    await asyncio.sleep(0)
    (line,) = lines(stream)
    assert line["uid"] == uid
