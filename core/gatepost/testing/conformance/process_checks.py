"""Checks that a plugin leaves the process alone: it shares it with the gateway and with other plugins."""

import builtins
import decimal
import gc
import locale
import logging
import os
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from gatepost.plugin_host.discovery import implements
from gatepost.testing.conformance.harness import Harness
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.webhook_requests import webhook_request


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _logger_levels() -> dict[str, int]:
    """Return the levels of the loggers that all code shares."""
    return {name: logging.getLogger(name).level for name in ("asyncio", "gatepost", "uvicorn")}


_STATE: Mapping[str, Callable[[], Any]] = {
    "os.environ": lambda: dict(os.environ),
    "the working directory": os.getcwd,
    "the umask": _umask,
    "logging.disable": lambda: logging.root.manager.disable,
    "the levels of the root logger's handlers": lambda: [one.level for one in logging.root.handlers],
    "the root logger's handlers": lambda: list(logging.root.handlers),
    "the root logger's filters": lambda: list(logging.root.filters),
    "the level of loggers that are not its own": _logger_levels,
    "logging.raiseExceptions": lambda: logging.raiseExceptions,
    "logging's logger class": logging.getLoggerClass,
    "the default timeout of sockets": socket.getdefaulttimeout,
    "socket.socket": lambda: socket.socket,
    "socket.getaddrinfo": lambda: socket.getaddrinfo,
    "ssl's default context": lambda: (ssl.create_default_context, ssl._create_default_https_context),  # noqa: SLF001  where verification is switched off
    "the signal handlers": lambda: [signal.getsignal(one) for one in signal.valid_signals()],
    "sys.excepthook": lambda: (sys.excepthook, threading.excepthook, sys.unraisablehook),
    "sys.path": lambda: list(sys.path),
    "the recursion limit": sys.getrecursionlimit,
    "the switch interval": sys.getswitchinterval,
    "the garbage collector": lambda: (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count() > 0),
    "the locale": lambda: locale.setlocale(locale.LC_ALL),
    "the time zone": lambda: time.tzname,
    "the decimal context": lambda: str(decimal.getcontext()),
    "the built-in functions": lambda: {
        name: id(value) for name, value in vars(builtins).items() if name != "_"
    },
}
"""What of the process a plugin could change, and how it is read."""


_RECORDED = frozenset({"the root logger's handlers", "the levels of the root logger's handlers"})
"""What the kit itself changes while it records a plugin."""


def _read() -> Mapping[str, Any]:
    return {what: current() for what, current in _STATE.items()}


def _assert_unchanged(before: Mapping[str, Any], when: str, ignored: Collection[str] = ()) -> None:
    """Raise AssertionError where the process has changed; it is then restored as far as that is easy."""
    changed = [what for what, value in _read().items() if value != before[what] and what not in ignored]
    if changed:
        _restore(before)
    assert not changed, f"{when} changes {', '.join(changed)}, which the whole process shares"


def _restore(before: Mapping[str, Any]) -> None:
    """Restore what other checks would suffer from."""
    os.environ.clear()
    os.environ.update(before["os.environ"])
    os.chdir(before["the working directory"])
    os.umask(before["the umask"])
    logging.disable(before["logging.disable"])
    logging.root.handlers[:] = before["the root logger's handlers"]
    logging.root.filters[:] = before["the root logger's filters"]
    logging.setLoggerClass(before["logging's logger class"])
    logging.raiseExceptions = before["logging.raiseExceptions"]
    for name, level in before["the level of loggers that are not its own"].items():
        logging.getLogger(name).setLevel(level)
    socket.setdefaulttimeout(before["the default timeout of sockets"])
    setattr(socket, "socket", before["socket.socket"])  # noqa: B010
    socket.getaddrinfo = before["socket.getaddrinfo"]
    ssl.create_default_context, ssl._create_default_https_context = before["ssl's default context"]  # noqa: SLF001
    sys.excepthook, threading.excepthook, sys.unraisablehook = before["sys.excepthook"]
    sys.path[:] = before["sys.path"]
    sys.setrecursionlimit(before["the recursion limit"])
    sys.setswitchinterval(before["the switch interval"])
    enabled, thresholds, _ = before["the garbage collector"]
    gc.set_threshold(*thresholds)
    (gc.enable if enabled else gc.disable)()
    locale.setlocale(locale.LC_ALL, before["the locale"])


@check(Group.PLUGIN, standalone=True)
async def process(harness: Harness) -> None:
    """Change nothing that the whole process shares, in the constructor or while it is open.

    Give your own client its timeout, log with `context.log`, and leave environment, signals and defaults alone.
    """
    before = _read()
    harness.make_plugin()
    _assert_unchanged(before, "the constructor")
    async with harness.run_plugin() as running:
        _assert_unchanged(before, "opening it", _RECORDED)
        for channel in harness.channels if harness.provider else ():
            await running.send(harness.for_channel(channel).message())
        if implements(running.plugin, "parse_webhook"):
            await running.parse(webhook_request(body=b"{}"))
        _assert_unchanged(before, "a hook", _RECORDED)
    _assert_unchanged(before, "closing it")
