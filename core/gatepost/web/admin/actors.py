"""Who is at the other end of the admin socket, by what the system knows of that process."""

import os
import pwd
import re
import socket
import struct
from pathlib import Path
from typing import NamedTuple

_NO_LOGIN = 0xFFFF_FFFF
"""The login user of a process that no login has started, such as a service or a container."""

_MAX_ENVIRONMENT = 1_048_576
"""Bytes of a process's environment in which SUDO_USER is searched."""

_USER_NAME = re.compile(r"[\w.@\\-]{1,64}")

_PEER_CREDENTIALS = struct.Struct("3i")


class Peer(NamedTuple):
    """The process at the other end of a Unix socket, as it was when it connected."""

    user: str
    """``uid NUMBER``: the log shows it where a network connection has the client's address."""
    pid: int

    @property
    def uid(self) -> int:
        """The number of the user."""
        return int(self.user.removeprefix("uid "))


def peer_of(connection: socket.socket) -> Peer:
    """Return the process at the other end. Raises OSError."""
    if not hasattr(socket, "SO_PEERCRED"):
        # Only this user and root can have opened the socket; without the call of Linux nothing more is known.
        return Peer(f"uid {os.geteuid()}", 0)
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
    pid, uid, _gid = _PEER_CREDENTIALS.unpack(credentials)
    return Peer(f"uid {uid}", pid)


def own_actor() -> str:
    """Return the actor of this process."""
    return actor_of(Peer(f"uid {os.geteuid()}", os.getpid()))


def actor_of(peer: Peer) -> str:
    """Return the name of a process's user, and who has become this user: ``root (login: maria)``.

    The user is what the kernel says. The second name is that of the login in which the process runs, which an
    ordinary user can't change. Without a login it is SUDO_USER of the process's environment, ``root (sudo: maria)``:
    a person who may act as this user can also invent that name. The function may read files and ask a directory
    service, so it may block.
    """
    process = Path("/proc", str(peer.pid))
    try:
        # The number may belong to another process by now.
        if process.stat().st_uid != peer.uid:
            return _user_name(peer.uid)
    except OSError:
        return _user_name(peer.uid)
    login = _login(process)
    if login is not None:
        return _user_name(peer.uid) + (f" (login: {_user_name(login)})" if login != peer.uid else "")
    sudo = _sudo_user(process)
    return _user_name(peer.uid) + (f" (sudo: {sudo})" if sudo else "")


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _login(process: Path) -> int | None:
    try:
        login = int((process / "loginuid").read_text())
    except (OSError, ValueError):
        return None
    return None if login == _NO_LOGIN else login


def _sudo_user(process: Path) -> str:
    try:
        with (process / "environ").open("rb") as file:
            environment = file.read(_MAX_ENVIRONMENT)
    except OSError:
        # The environment of another user's process.
        return ""
    for variable in environment.split(b"\0"):
        name, _, value = variable.partition(b"=")
        if name == b"SUDO_USER":
            user = value.decode("utf-8", "replace")
            return user if _USER_NAME.fullmatch(user) else ""
    return ""
