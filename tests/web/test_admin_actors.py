"""Who the system says is at the other end of the admin socket."""

import os
import pwd
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gatepost.web.admin import actors
from gatepost.web.admin.actors import Peer

OWN_NAME = pwd.getpwuid(os.geteuid()).pw_name
OWN_USER = f"uid {os.geteuid()}"


@pytest.fixture
def process():
    """Return a function that starts a process with these variables; it returns the process's Peer."""
    processes = []

    def start(**variables):
        process = subprocess.Popen(
            [sys.executable, "-c", "print(flush=True); input()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=variables,
        )
        processes.append(process)
        # Before it runs, its environment is still that of this process.
        process.stdout.readline()
        return Peer(OWN_USER, process.pid)

    yield start
    for process in processes:
        process.communicate(b"\n")


@pytest.fixture
def no_login(monkeypatch):
    """Let the process have no login, as a service or a container has none."""
    monkeypatch.setattr(actors, "_login", lambda _process: None)


def test_the_peer_is_the_process_that_connected():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert actors.peer_of(ours) == Peer(OWN_USER, os.getpid())


def test_this_process_acts_as_its_user(no_login, monkeypatch):
    monkeypatch.setattr(actors, "_sudo_user", lambda _process: "")

    assert actors.own_actor() == OWN_NAME


def test_the_user_behind_sudo_is_named(process, no_login):
    assert actors.actor_of(process(SUDO_USER="maria")) == f"{OWN_NAME} (sudo: maria)"
    assert actors.actor_of(process(USER="maria", SUDO_UID="1000")) == OWN_NAME


@pytest.mark.parametrize("name", ["", "maria) root (x", "a\nb", "a b", "x" * 65, "\x1b[31m", "\u202e"])
def test_a_text_that_is_no_user_name_is_left_out(process, no_login, name):
    assert actors.actor_of(process(SUDO_USER=name)) == OWN_NAME


def test_the_login_counts_more_than_the_variable(process, monkeypatch):
    """An ordinary user can't change the login; the variable can be set by anyone."""
    monkeypatch.setattr(actors, "_login", lambda _process: 65534)

    assert actors.actor_of(process(SUDO_USER="maria")) == f"{OWN_NAME} (login: {_name_of(65534)})"


def test_a_login_as_the_same_user_is_not_named_twice(process, monkeypatch):
    monkeypatch.setattr(actors, "_login", lambda _process: os.geteuid())

    assert actors.actor_of(process(SUDO_USER="maria")) == OWN_NAME


def _name_of(uid):
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


@pytest.mark.parametrize(
    ("content", "login"),
    [("1000", 1000), ("0", 0), ("4294967295", None), ("", None), ("text", None), (None, None)],
)
def test_the_login_is_read_from_the_system(tmp_path, content, login):
    if content is not None:
        (tmp_path / "loginuid").write_text(content)

    assert actors._login(tmp_path) == login


def test_a_process_of_another_user_says_nothing_about_the_peer(process, no_login):
    """The peer has ended, and its number belongs to another process by now."""
    other = process(SUDO_USER="maria")

    assert actors.actor_of(Peer("uid 4242", other.pid)) == "uid 4242"


def test_a_peer_that_has_ended_is_named_by_its_number(no_login):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not Path(f"/proc/{ended.pid}").exists()

    assert actors.actor_of(Peer(OWN_USER, ended.pid)) == OWN_NAME
