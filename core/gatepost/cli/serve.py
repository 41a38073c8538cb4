"""``gatepost serve``."""

import asyncio
import gc
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TextIO, TypeVar

import rich_click as click

from gatepost.app import load
from gatepost.cli.common import config_option, fault_line
from gatepost.config.settings import Settings
from gatepost.config.toml_file import locate, log_settings
from gatepost.errors import ConfigError, Fault
from gatepost.observe import logs, output_capture, watchdog
from gatepost.plugin_host.instances import Instance
from gatepost.server import process

T = TypeVar("T")

LAST = 0.5
"""Seconds that what a plugin left behind may keep the process from ending."""

_log = logs.get(__name__)


@click.command()
@config_option
def command(config: Path | None) -> None:
    """Run the gateway until it is told to stop (SIGTERM, SIGHUP, or Ctrl-C).

    It then takes nothing new, finishes what it holds within 12 seconds and ends with exit code 0. A start
    that fails names every fault in a line of its own, and ends with exit code 1.
    """
    path = locate(config)
    wanted = log_settings(path)
    form = logs.form_of(wanted.format)
    # Before the plugins are made, who keep their loggers, and before stderr is caught.
    logs.configure(wanted.level, form)
    refuse = partial(_refuse, sys.stderr, path, form)
    with output_capture.caught(), asyncio.Runner(loop_factory=_new_loop) as runner:
        code = _start(path, runner.get_loop(), refuse, verbose=wanted.level == "debug")
        # A thread or a task that does not end would hold the process, though all is done.
        last = threading.Timer(LAST, os._exit, (code,))
        last.daemon = True
        last.start()
    sys.exit(code)


def _start(
    path: Path, loop: asyncio.AbstractEventLoop, refuse: Callable[[Fault], None], *, verbose: bool
) -> int:
    """Run the gateway, or refuse each fault that forbids it; returns the exit code.

    Unless it is to be ``verbose``, a start that fails shows its faults and nothing else.
    """
    try:
        with nullcontext(lambda: None) if verbose else output_capture.held_back() as started:
            settings, instances = load(path)
            return _to_the_end(loop, _served(settings, instances, started))
    except ConfigError as error:
        for fault in error.faults:
            refuse(fault)
        return 1


def _refuse(stderr: TextIO, path: Path, form: str, fault: Fault) -> None:
    """Write one fault as one line, in the form of the log."""
    if form == "json":
        record = {
            "event": "start_refused",
            "level": "critical",
            "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "config": str(path),
            "key": fault.key,
            "problem": fault.problem,
        }
        click.echo(json.dumps(record), stderr)
    else:
        click.echo(fault_line(path, fault), stderr)


async def _served(settings: Settings, instances: Mapping[str, Instance], started: Callable[[], None]) -> int:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(output_capture.loop_error)
    owners = {one.package: name for name, one in instances.items()}
    listening = threading.Event()

    def tell(held: watchdog.Held) -> None:
        # Until then nobody waits for the loop, and to import what is needed takes a slow machine a second.
        if listening.is_set():
            _tell(held, instances)

    def settle(_url: str) -> None:
        _settle()
        started()
        listening.set()

    with watchdog.watching(loop, owners, tell, output_capture.Keeper().mend):
        return await process.serve(settings, instances, on_listening=settle)


def _settle() -> None:
    """Let the garbage collector be: what is there now stays, and what comes goes by itself nearly always.

    A request makes some hundred objects. By default they are looked through after 700, and all that the
    process has loaded with them every now and then: a fifth of the CPU of accepting a message.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    # SQLite's thread asks for the interpreter after each step of a statement. By default it would wait 5 ms
    # while the loop is busy: to wait less took a sixteenth off accepting's CPU, and a fifth off its p99.
    sys.setswitchinterval(0.0005)


def _tell(held: watchdog.Held, instances: Mapping[str, Instance]) -> None:
    if held.frozen:
        _log.warning(
            "process_frozen",
            problem=f"nothing of the process ran for {held.seconds:.1f} s: a call held the interpreter, or the "
            "machine had no time for it",
            cpu_seconds=round(held.cpu, 1),
            task=held.task,
            place=held.place,
            other_threads=held.others,
        )
        return
    problem = f"has held the event loop, and with it everybody, for {held.seconds:.1f} s"
    instance, _, hook = held.task.rpartition(".")
    if instance not in instances:
        instance, hook = held.owner, ""
    if instance:
        instances[instance].held_loop()
        _log.error("plugin_fault", instance=instance, hook=hook, problem=problem, place=held.place)
    else:
        _log.warning("loop_held", task=held.task, problem=problem, place=held.place)


def _to_the_end(loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` on ``loop``, also when a plugin stops the loop or raises what ends it."""
    task = loop.create_task(main, name="gatepost")
    while True:
        try:
            return loop.run_until_complete(task)
        except (KeyboardInterrupt, SystemExit, RuntimeError) as error:
            # Once it listens, Ctrl-C comes as a signal and not as an exception.
            interrupted = isinstance(error, KeyboardInterrupt) and (
                signal.getsignal(signal.SIGINT) is signal.default_int_handler
            )
            if task.done() or interrupted:
                raise
            _log.error(
                "loop_was_stopped", problem="a plugin stopped the event loop; it goes on", exc_info=error
            )


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # noqa: PLC0415  not there on every platform
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
