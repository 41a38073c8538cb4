"""``gatepost serve``: runs the gateway, and prints every fault that prevents its start."""

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
from gatepost.config.toml_file import config_path, log_settings
from gatepost.errors import ConfigError, Fault
from gatepost.observe import logs, output_capture, watchdog
from gatepost.outbox.store_url import sqlite_path
from gatepost.plugin_host.instances import Instance
from gatepost.server import hangups, process
from gatepost.server.supervisor import Supervisor
from gatepost.web.admin.socket_file import MAX_GATEWAYS

T = TypeVar("T")

EXIT_TIMEOUT = 0.5
"""Seconds that a thread or a task that a plugin left behind may delay the end of the process."""

_log = logs.get(__name__)


@click.command()
@click.option(
    "--processes",
    type=click.IntRange(1, MAX_GATEWAYS),
    default=1,
    help="Gateways on one socket, one for each core; needs PostgreSQL.",
)
@config_option
def command(processes: int, config: Path | None) -> None:
    """Run the gateway until it gets a signal to stop (SIGTERM or Ctrl-C). SIGHUP does what `gatepost reload` does.

    At the stop it accepts no new requests, finishes its current work within 12 seconds and ends with exit code 0, or
    with 1 if the store is too slow for that. If it can't start, it prints each fault on its own line and ends with exit
    code 1.
    """
    hangups.hold_back()
    path = config_path(config)
    settings = log_settings(path)
    log_format = logs.resolve_format(settings.format)
    # Before the plugins are built, which keep their loggers, and before stderr is captured.
    logs.configure(settings.level, log_format)
    refuse = partial(_refuse, sys.stderr, path, log_format)
    with output_capture.capture_output(), asyncio.Runner(loop_factory=_new_loop) as runner:
        loop, is_verbose = runner.get_loop(), settings.level == "debug"
        code = (
            _start(path, loop, refuse, verbose=is_verbose)
            if processes == 1
            else _start_several(path, loop, refuse, processes)
        )
        # A thread or a task that does not end would keep the process alive after its work is done.
        exit_timer = threading.Timer(EXIT_TIMEOUT, os._exit, (code,))
        exit_timer.daemon = True
        exit_timer.start()
    sys.exit(code)


def _start(
    path: Path, loop: asyncio.AbstractEventLoop, refuse: Callable[[Fault], None], *, verbose: bool
) -> int:
    """Run the gateway, or refuse each fault that forbids it; returns the exit code.

    Unless ``verbose``, a start that fails prints its faults and nothing else.
    """
    try:
        with nullcontext(lambda: None) if verbose else output_capture.buffer_log() as release_log:
            settings, instances = load(path)
            for instance in instances.values():
                for key, problem in instance.services.warnings:
                    _log.warning("plugin_warning", instance=instance.name, key=key, problem=problem)
            return _run_to_the_end(loop, _serve(settings, instances, release_log))
    except ConfigError as error:
        for fault in error.faults:
            refuse(fault)
        return 1


def _start_several(
    path: Path, loop: asyncio.AbstractEventLoop, refuse: Callable[[Fault], None], processes: int
) -> int:
    """Run several gateways, or refuse each fault that forbids it; returns the exit code."""
    try:
        settings, _instances = load(path)
        if sqlite_path(settings.store.url, path.parent) is None:
            return loop.run_until_complete(_supervise(settings, processes))
        refuse(
            Fault("store.url", "several processes need PostgreSQL: only one process can have a SQLite file")
        )
        return 1
    except ConfigError as error:
        for fault in error.faults:
            refuse(fault)
        return 1


async def _supervise(settings: Settings, processes: int) -> int:
    return await Supervisor(settings, processes).run()


def _refuse(stderr: TextIO, path: Path, log_format: str, fault: Fault) -> None:
    """Print a fault as one line, in the format of the log."""
    if log_format == "json":
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


async def _serve(
    settings: Settings, instances: Mapping[str, Instance], release_log: Callable[[], None]
) -> int:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(output_capture.log_loop_error)
    in_use: dict[str, Instance] = {}
    owners: dict[str, str] = {}
    listening = threading.Event()

    def report(sample: watchdog.Sample) -> None:
        # Before that no request waits for the loop, and imports may take a second on a slow machine.
        if listening.is_set():
            _report_blocked(sample, in_use)

    def on_listening(_url: str) -> None:
        _tune_interpreter()
        release_log()
        listening.set()

    def note_instances(instances: Mapping[str, Instance]) -> None:
        in_use.clear()
        in_use.update(instances)
        owners.clear()
        owners.update({one.package: name for name, one in instances.items()})

    note_instances(instances)
    with watchdog.watch(loop, owners, report, output_capture.LoggingSnapshot().restore):
        return await process.serve(
            settings, instances, on_listening=on_listening, on_reload=note_instances, on_wait=release_log
        )


def _tune_interpreter() -> None:
    """Make the garbage collector run rarely, and threads wait less for the interpreter.

    A request creates about a hundred objects, nearly all of which are freed by reference counting. By default the
    collector examines them after every 700, and from time to time everything that the process has loaded as
    well: a fifth of the CPU of accepting a message.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    # SQLite's thread waits for the interpreter after each step of a statement, by default 5 ms while the loop is
    # busy. The shorter wait reduced the CPU of accepting a message by a sixteenth, and its p99 latency by a fifth.
    sys.setswitchinterval(0.0005)


def _report_blocked(sample: watchdog.Sample, instances: Mapping[str, Instance]) -> None:
    if sample.stalled:
        _log.warning(
            "process_stalled",
            problem=f"the whole process stood still for {sample.seconds:.1f} s: a call in C held the interpreter, or "
            "the machine had no time for the process",
            cpu_seconds=round(sample.cpu, 1),
            task=sample.task,
            place=sample.location,
            other_threads=sample.other_threads,
        )
        return
    problem = f"has blocked the event loop, and so the whole gateway, for {sample.seconds:.1f} s"
    instance, _, hook = sample.task.rpartition(".")
    if instance not in instances:
        instance, hook = sample.owner, ""
    if instance:
        instances[instance].count_blocked_loop()
        _log.error("plugin_violation", instance=instance, hook=hook, problem=problem, place=sample.location)
    else:
        _log.warning("loop_blocked", task=sample.task, problem=problem, place=sample.location)


def _run_to_the_end(loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` on ``loop``, also when a plugin stops the loop or raises an exception that ends it."""
    task = loop.create_task(main, name="gatepost")
    while True:
        try:
            return loop.run_until_complete(task)
        except (KeyboardInterrupt, SystemExit, RuntimeError) as error:
            # Once the gateway listens, Ctrl-C arrives as a signal and not as an exception.
            interrupted = isinstance(error, KeyboardInterrupt) and (
                signal.getsignal(signal.SIGINT) is signal.default_int_handler
            )
            if task.done() or interrupted:
                raise
            _log.error(
                "loop_restarted", problem="a plugin stopped the event loop; it was restarted", exc_info=error
            )


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # noqa: PLC0415  it does not exist for every platform
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
