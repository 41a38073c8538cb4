"""Cuts this process and its children off from every network but the loopback, where the system allows it."""

import ctypes
import fcntl
import os
import socket
import struct
import sys
import threading
from contextlib import suppress
from pathlib import Path

_NEW_USERS, _NEW_NETWORK = 0x10000000, 0x40000000
_SET_FLAGS, _UP_AND_RUNNING = 0x8914, 0x41

CUT_OFF = "the kernel has cut the whole run off from every network; only the loopback is left"


def cut_off() -> str:
    """Move into a network of its own that has a loopback and nothing else; return what came of it, in words.

    To be called before the first thread. It can't be undone.
    """
    if sys.platform != "linux":
        return "this system can't cut a process off from its networks; every address that was used is on the loopback"
    if threading.active_count() > 1:
        return "the run was not cut off, because threads were running already"
    # Tried in a child, because a system may allow the first half alone: then there would be no loopback either.
    child = os.fork()
    if not child:
        os._exit(0 if _enter() else 1)
    if os.waitpid(child, 0)[1]:
        return (
            "the system does not allow to cut a process off; every address that was used is on the loopback"
        )
    _enter()
    return CUT_OFF


def _enter() -> bool:
    user, group = os.geteuid(), os.getegid()
    # Without a namespace for users a process with the right to do so (root) keeps its access to files.
    if not _unshare(_NEW_NETWORK):
        if not _unshare(_NEW_USERS | _NEW_NETWORK):
            return False
        with suppress(OSError):
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
            Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    return _start_loopback()


def _unshare(flags: int) -> bool:
    try:
        return bool(ctypes.CDLL(None, use_errno=True).unshare(flags) == 0)
    except (AttributeError, OSError):
        return False


def _start_loopback() -> bool:
    request = struct.pack("16sh14x", b"lo", _UP_AND_RUNNING)
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SET_FLAGS, request)
        return True
    return False
