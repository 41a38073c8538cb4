"""Callers at the moment of a stop: what has reached this machine by then is answered."""

import os
import signal
import socket

import pytest

from fuzz import gateway
from fuzz.driver import Line
from fuzz.gateway import message, request
from gatepost.testing.process import GatewayProcess

CROWD = 30


@pytest.fixture
def process(tmp_path):
    with GatewayProcess(gateway.write(tmp_path)) as running:
        yield running
        assert gateway.faults(running.log) == []


@pytest.fixture
def line(process):
    lines = []

    def opened():
        lines.append(Line(gateway.address(process)))
        return lines[-1]

    yield opened
    for one in lines:
        one.close()


def stop_while_asleep(process, meanwhile):
    """Tell it to stop while it sees nothing, so that ``meanwhile`` is there when it does; returns the exit code."""
    os.kill(process.pid, signal.SIGSTOP)
    try:
        meanwhile()
        os.kill(process.pid, signal.SIGTERM)
    finally:
        os.kill(process.pid, signal.SIGCONT)
    return process.wait()


def answers(line):
    """Everything that is said until the connection ends."""
    found = []
    while (answer := line.read()) is not None:
        found.append(answer)
    return found


def test_what_waits_in_the_sockets_at_a_stop_is_answered_and_told_that_it_is_the_last(process, line):
    kept, new = [line() for _ in range(CROWD)], [line() for _ in range(CROWD)]
    for one in kept:
        one.send(request(body=message()))
        assert one.read().code == 1

    def ask():
        for number, one in enumerate((*kept, *new)):
            one.send(request(body=message(ext_user_id="anna", email_uid=f"at the stop {number}")))

    assert stop_while_asleep(process, ask) == 0
    for one in (*kept, *new):
        (answer,) = answers(one)
        assert answer.code == 0
        assert b"\nconnection: close\r" in answer.head


def test_requests_behind_each_other_are_all_answered_at_a_stop(process, line):
    asking = line()

    def ask():
        for number in range(5):
            asking.send(request(body=message(ext_user_id="anna", email_uid=f"behind {number}")))

    assert stop_while_asleep(process, ask) == 0
    found = answers(asking)
    assert [answer.code for answer in found] == [0] * 5
    assert [b"\nconnection: close\r" in answer.head for answer in found] == [False] * 4 + [True]


def test_who_has_asked_for_nothing_holds_up_no_stop(process, line):
    idle = line()
    idle.send(request(body=message()))
    assert idle.read().code == 1
    begun = line()
    begun.send(b"POST /email HT")
    crowd = []

    def connect():
        crowd.extend(socket.create_connection(gateway.address(process)) for _ in range(CROWD))

    assert stop_while_asleep(process, connect) == 0
    assert answers(idle) == answers(begun) == []
    for one in crowd:
        with one:
            assert one.recv(100) == b""
    assert "timeout graceful" not in process.log.read_text()
