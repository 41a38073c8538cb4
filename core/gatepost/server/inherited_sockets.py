"""Listening sockets that another process has opened: systemd, or the parent of several gateways.

The protocol is that of sd_listen_fds(3): the sockets are the descriptors from 3 on, LISTEN_FDS says how many there are, and
LISTEN_PID for which process they are.
"""

import ipaddress
import os
import socket
from collections.abc import Iterable, MutableMapping, Sequence
from typing import NamedTuple

from gatepost.errors import Fault

FIRST_DESCRIPTOR = 3

SOCKETS = "GATEPOST_SOCKETS"
"""The environment variable in which the parent of several gateways says their descriptors."""

STAY_OPEN = "GATEPOST_SOCKETS_STAY_OPEN"
"""The environment variable with which that parent says that a service manager keeps the sockets open."""


class Inherited(NamedTuple):
    """What a process was started with."""

    sockets: Sequence[socket.socket] = ()
    stay_open: bool = True
    """Whether they stay open for the next process when all those that have them now end."""
    faults: Sequence[Fault] = ()


def take_sockets(environment: MutableMapping[str, str]) -> Inherited:
    """Return the sockets that this process was started with. The processes that it starts inherit none of them."""
    own, stays_open = environment.pop(SOCKETS, ""), environment.pop(STAY_OPEN, "")
    count, pid = environment.pop("LISTEN_FDS", ""), environment.pop("LISTEN_PID", "")
    environment.pop("LISTEN_FDNAMES", None)
    if own:
        return _take(map(int, own.split(",")))._replace(stay_open=bool(stays_open))
    if pid == str(os.getpid()) and count.isdecimal():
        return _take(range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(count)))
    return Inherited()


def _take(descriptors: Iterable[int]) -> Inherited:
    sockets: list[socket.socket] = []
    for number in descriptors:
        taken = _listening_socket(number)
        if taken is None:
            problem = (
                f"the service manager hands over descriptor {number} as a listening socket, and it is none: the socket "
                "unit must have ListenStream and Accept=no, and LISTEN_FDS the number of its sockets"
            )
            return Inherited(sockets, faults=[Fault("server", problem)])
        taken.set_inheritable(False)
        sockets.append(taken)
    return Inherited(sockets)


def _listening_socket(descriptor: int) -> socket.socket | None:
    """Return the listening socket with this descriptor; None where there is none, and then nothing is closed."""
    try:
        found = socket.socket(fileno=descriptor)
    except OSError:
        return None
    if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return found
    found.detach()
    return None


def listens_on(one: socket.socket, host: str, port: int) -> bool:
    """Return whether a socket listens on this address; port 0 stands for any port."""
    if one.family not in {socket.AF_INET, socket.AF_INET6} or one.type != socket.SOCK_STREAM:
        return False
    address, own_port = one.getsockname()[:2]
    return port in {0, own_port} and any(_is_same(address, other) for other in _addresses(host))


def address_of(one: socket.socket) -> str:
    """Return the address of a socket, for people."""
    if one.family not in {socket.AF_INET, socket.AF_INET6}:
        return f"a socket of the kind {one.family.name}"
    host, port = one.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_same(one: str, other: str) -> bool:
    # A scope, as in fe80::1%eth0, says on which network an address is.
    return ipaddress.ip_address(one) == ipaddress.ip_address(other)


def _addresses(host: str) -> list[str]:
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
    except OSError:
        return []
