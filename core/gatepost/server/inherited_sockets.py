"""Listening sockets that another process has opened: systemd, or the parent of several gateways.

The protocol is that of sd_listen_fds(3): the sockets are the descriptors from 3 on, LISTEN_FDS says how many there are, and
LISTEN_PID for which process they are.
"""

import ipaddress
import os
import socket
from collections.abc import MutableMapping

FIRST_DESCRIPTOR = 3

SOCKETS = "GATEPOST_SOCKETS"
"""The environment variable in which the parent of several gateways says their descriptors."""


def take_sockets(environment: MutableMapping[str, str]) -> list[socket.socket]:
    """Return the TCP sockets that this process was started with. The processes that it starts inherit none of them."""
    own = environment.pop(SOCKETS, "")
    count, pid = environment.pop("LISTEN_FDS", ""), environment.pop("LISTEN_PID", "")
    environment.pop("LISTEN_FDNAMES", None)
    if own:
        descriptors = [int(one) for one in own.split(",")]
    elif pid == str(os.getpid()) and count.isdecimal():
        descriptors = [FIRST_DESCRIPTOR + number for number in range(int(count))]
    else:
        return []
    sockets = [socket.socket(fileno=one) for one in descriptors]
    for one in sockets:
        one.set_inheritable(False)
    return sockets


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
