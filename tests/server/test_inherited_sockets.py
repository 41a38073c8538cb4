"""The sockets that a process is started with: what is none is named, whatever it is."""

import os
import socket

import pytest

from gatepost.server.inherited_sockets import SOCKETS, STAY_OPEN, take_sockets


def test_only_listening_sockets_are_taken_and_nothing_else_is_closed():
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as connected,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
    ):
        for wrong in (connected, datagrams):
            taken = take_sockets({SOCKETS: f"{os.dup(listener.fileno())},{wrong.fileno()}"})
            (good,) = taken.sockets
            with good:
                assert good.getsockname() == listener.getsockname()
            (fault,) = taken.faults
            assert fault.key == "server"
            assert f"descriptor {wrong.fileno()} as a listening socket, and it is none" in fault.problem
            wrong.getsockname()


def test_a_file_and_a_descriptor_that_is_not_open_are_named():
    reader, writer = os.pipe()
    os.close(writer)
    assert take_sockets({SOCKETS: str(reader)}).faults
    os.close(reader)
    assert take_sockets({SOCKETS: str(reader)}).faults


def test_a_wild_number_ends_at_the_first_descriptor_that_is_none():
    environment = {"LISTEN_FDS": "9" * 18, "LISTEN_PID": str(os.getpid())}
    taken = take_sockets(environment)
    assert len(taken.faults) == 1
    for one in taken.sockets:
        one.detach()


@pytest.mark.parametrize(("said", "stays_open"), [("1", True), ("", False)])
def test_the_parent_says_whether_they_stay_open(said, stays_open):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = take_sockets({SOCKETS: str(os.dup(listener.fileno())), STAY_OPEN: said})
        assert taken.stay_open is stays_open
        taken.sockets[0].close()


@pytest.mark.parametrize("count", ["", "-1", "0", "many", "1.5"])
def test_other_counts_are_no_sockets(count):
    assert [*take_sockets({"LISTEN_FDS": count, "LISTEN_PID": str(os.getpid())}).sockets] == []


def test_sockets_for_another_process_are_left_to_it():
    assert [*take_sockets({"LISTEN_FDS": "1", "LISTEN_PID": "1"}).sockets] == []
