"""The admin socket: its place in the file system, and how it is created, found and removed.

Unless the configuration names its place, it lies beside the SQLite file, else beside the configuration. With PostgreSQL
several gateways may share that folder, so there are several names, and each gateway takes the first that no other one
listens at.
"""

import contextlib
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from gatepost.config.settings import Settings
from gatepost.observe import logs
from gatepost.outbox.store_url import sqlite_path

MAX_GATEWAYS = 64
"""Gateways that can have a socket beside one configuration."""

CONNECT_TIMEOUT = 5.0
"""Seconds until a command gives up a gateway that accepts no connection."""

_BACKLOG = 64

_MAX_ADDRESS = 107
"""Bytes of a Unix socket's address."""

_LOCK_TRIES = 200
"""How often the lock of the folder is tried, every 5 ms."""

_log = logs.get(__name__)


class SocketUnavailable(Exception):
    """The socket can't be created or used; the text says why."""


class NoSocket(SocketUnavailable):
    """No gateway listens at any of the paths."""


def socket_paths(settings: Settings) -> list[Path]:
    """Return the paths at which a gateway of this configuration may listen, the first choice first."""
    if own := settings.server.admin_socket:
        base = own.with_name(own.name.removesuffix(".sock"))
    else:
        base = sqlite_path(settings.store.url, settings.path.parent) or settings.path
    suffixes = [".sock", *(f".{number}.sock" for number in range(2, MAX_GATEWAYS + 1))]
    return [base.with_name(base.name + suffix) for suffix in suffixes]


@contextlib.contextmanager
def admin_socket(settings: Settings) -> Iterator[socket.socket | None]:
    """Yield a listening socket, and remove it from the folder at the end.

    Only the gateway's own user and root can connect. None where it can't be created: the gateway also runs without
    it, and the log says which commands will not work.
    """
    paths = socket_paths(settings)
    try:
        path, listener = _create(paths)
    except (SocketUnavailable, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        problem = f"{reason}: no command can reach this gateway, so send won't work, and with SQLite no command that changes something"
        _log.warning("admin_socket_not_created", path=str(paths[0]), problem=problem)
        yield None
        return
    identity = _identity(path)
    try:
        yield listener
    finally:
        # Without the lock another gateway could put its own socket there after the comparison.
        with contextlib.suppress(OSError, SocketUnavailable), _locked(path.parent):
            if _identity(path) == identity:
                path.unlink()
        listener.close()


@contextlib.contextmanager
def live_addresses(settings: Settings) -> Iterator[Sequence[str]]:
    """Yield the addresses at which gateways of this configuration listen; those that can't be used are left out.

    It may take seconds where one hangs, so it is not for the event loop of a gateway.
    """
    found: list[str] = []
    with existing_addresses(settings) as addresses:
        for address in addresses:
            with contextlib.suppress(OSError):
                if _is_live(address):
                    found.append(address)
        yield found


@contextlib.contextmanager
def existing_addresses(settings: Settings) -> Iterator[Sequence[str]]:
    """Yield the addresses at which gateways of this configuration listen, or have listened before they died."""
    found: list[str] = []
    with contextlib.ExitStack() as stack:
        for path in socket_paths(settings):
            with contextlib.suppress(OSError, SocketUnavailable):
                if path.exists():
                    found.append(stack.enter_context(_address(path)))
        yield found


@contextlib.contextmanager
def gateway_address(settings: Settings) -> Iterator[str]:
    """Yield the address at which a gateway of this configuration listens.

    Of several gateways it is the first one that does. Raises SocketUnavailable.
    """
    paths = socket_paths(settings)
    problems: list[str] = []
    for path in paths:
        with contextlib.ExitStack() as stack:
            try:
                address = stack.enter_context(_address(path))
                if not _is_live(address):
                    continue
            except FileNotFoundError:
                continue
            except PermissionError:
                problems.append(f"{path}: permission denied; {_cure(path)}")
                continue
            except OSError as error:
                problems.append(f"{path}: {error.strerror or error}")
                continue
            yield address
            return
    if problems:
        raise SocketUnavailable(problems[0])
    raise NoSocket(f"no gateway is running with this configuration (it would listen at {paths[0]})")


def _cure(path: Path) -> str:
    try:
        owner = path.stat().st_uid
    except OSError:
        return "run this as the user that the gateway runs as"
    return f"run this as the user that the gateway runs as, for example with sudo -u '#{owner}'"


def _create(paths: Sequence[Path]) -> tuple[Path, socket.socket]:
    """Listen at the first of these paths of one folder that is free. Raises SocketUnavailable and OSError."""
    with _locked(paths[0].parent):
        for path in paths:
            with _address(path) as address:
                if _is_free(path, address):
                    return path, _listen(address)
    raise SocketUnavailable(f"{len(paths)} gateways already listen beside this configuration")


def _listen(address: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Before it is bound: the file is created with this mode, so that it is never open to others.
        os.fchmod(listener.fileno(), 0o600)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _is_free(path: Path, address: str) -> bool:
    """Return whether a socket can be created at the path; remove a socket that a dead gateway has left there."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return True
    if not stat.S_ISSOCK(mode):
        raise SocketUnavailable(f"{path} is not a socket, so move it away")
    try:
        if _is_live(address):
            return False
    except OSError:
        # A socket of another kind or of another user.
        return False
    path.unlink()
    return True


def _is_live(address: str) -> bool:
    """Return whether a process listens there; False without a file too. Raises OSError when it can't be known."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(CONNECT_TIMEOUT)
        try:
            probe.connect(address)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    """Yield an address for the path: where it is too long for one, by way of the opened folder."""
    if len(os.fsencode(path)) <= _MAX_ADDRESS:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        address = f"/proc/self/fd/{folder}/{path.name}"
        if len(os.fsencode(address)) > _MAX_ADDRESS:
            raise SocketUnavailable(f"the name {path.name} is too long for a socket, so use a shorter one")
        yield address
    finally:
        os.close(folder)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder: between gateways that start or stop in it at the same moment."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for _ in range(_LOCK_TRIES):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(0.005)
        else:
            raise SocketUnavailable(f"another process has locked the folder {folder}")
        yield
    finally:
        os.close(descriptor)


def _identity(path: Path) -> tuple[int, int, int]:
    """Return what tells this file from any other, also from one that came later under its name."""
    status = path.lstat()
    return status.st_dev, status.st_ino, status.st_mtime_ns
