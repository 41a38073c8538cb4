"""Requests at the moment of a shutdown: those that have reached this machine are answered."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from fuzz import gateway
from fuzz.driver import Connection
from fuzz.gateway import message, request
from gatepost.testing.process import GatewayProcess

CONNECTIONS = 30

HURRIED = """
from gatepost.cli import main
from gatepost.server import process

process.STOP_TIMEOUT = 1.0
main()
"""
"""A gateway whose stop may take a second."""


@pytest.fixture
def process(tmp_path):
    with GatewayProcess(gateway.write(tmp_path)) as running:
        yield running
        assert gateway.log_errors(running.log) == []


@pytest.fixture
def line(process):
    lines = []

    def open_line():
        lines.append(Connection(gateway.address(process)))
        return lines[-1]

    yield open_line
    for one in lines:
        one.close()


def stop_after(process, act):
    """Call ``act`` and send SIGTERM while the process is suspended; return the exit code.

    When the process continues, it finds the signal and everything that ``act`` has sent at the same moment.
    """
    os.kill(process.pid, signal.SIGSTOP)
    try:
        act()
        os.kill(process.pid, signal.SIGTERM)
    finally:
        os.kill(process.pid, signal.SIGCONT)
    return process.wait()


def answers(line):
    """Return every answer until the connection ends."""
    found = []
    while (answer := line.receive()) is not None:
        found.append(answer)
    return found


def test_requests_pending_at_a_shutdown_get_a_last_answer(process, line):
    open_before, new = [line() for _ in range(CONNECTIONS)], [line() for _ in range(CONNECTIONS)]
    for one in open_before:
        one.send(request(body=message()))
        assert one.receive().code == 1

    def send_requests():
        for number, one in enumerate((*open_before, *new)):
            one.send(request(body=message(ext_user_id="anna", email_uid=f"at the shutdown {number}")))

    assert stop_after(process, send_requests) == 0
    for one in (*open_before, *new):
        (answer,) = answers(one)
        assert answer.code == 0
        assert b"\nconnection: close\r" in answer.head


def test_pipelined_requests_are_all_answered_at_a_shutdown(process, line):
    client = line()

    def send_requests():
        for number in range(5):
            client.send(request(body=message(ext_user_id="anna", email_uid=f"pipelined {number}")))

    assert stop_after(process, send_requests) == 0
    found = answers(client)
    assert [answer.code for answer in found] == [0] * 5
    assert [b"\nconnection: close\r" in answer.head for answer in found] == [False] * 4 + [True]


def test_connections_without_a_request_do_not_delay_a_shutdown(process, line):
    idle = line()
    idle.send(request(body=message()))
    assert idle.receive().code == 1
    incomplete = line()
    incomplete.send(b"POST /email HT")
    silent = []

    def connect():
        silent.extend(socket.create_connection(gateway.address(process)) for _ in range(CONNECTIONS))

    assert stop_after(process, connect) == 0
    assert answers(idle) == answers(incomplete) == []
    for one in silent:
        with one:
            assert one.recv(100) == b""
    assert "timeout graceful" not in process.log.read_text()


def test_a_store_that_does_not_answer_does_not_delay_a_stop_for_long(tmp_path):
    config = gateway.write(tmp_path)
    with GatewayProcess(config) as process:
        process.terminate()
    log = tmp_path / "hurried.log"
    command = [sys.executable, "-c", HURRIED, "serve", "--config", str(config)]
    with log.open("wb") as output, subprocess.Popen(command, stderr=output) as hurried:
        while "listening" not in log.read_text():
            assert hurried.poll() is None, log.read_text()
            time.sleep(0.02)
        # SQLite waits five seconds for a lock, and the gateway has something to write when it stops.
        with closing(sqlite3.connect(tmp_path / "gatepost.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            hurried.terminate()
            assert hurried.wait() == 1
    assert "stop_cut_short" in log.read_text()
