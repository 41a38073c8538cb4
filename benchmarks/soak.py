"""``make soak``: the whole way at a fixed rate for a long time, with a provider that fails for some seconds of each minute.

Prints a line a minute, and at the end whether memory and latency stayed flat, whether each message has its callback, and what
was logged as a warning or an error. The exit code is 1 if a message was refused or has no callback.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import whole_way
from gateways import configure
from machine import HERE, cpu, describe_machine, free_port, query_count, rss, start_script

from gatepost.testing.process import GatewayProcess

FAILING = 3.0
"""Seconds of each minute in which the provider answers 503."""

SETTLE = 120.0
"""Seconds at the end for the callbacks of the last messages."""


class Minute(NamedTuple):
    """What one minute showed."""

    load: dict[str, float]
    callbacks: float
    memory: float
    cpu: float
    """CPU seconds so far."""
    store: float
    """Megabytes of the database with its log."""


def main() -> int:
    """Run the soak and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--rate", type=float, default=500.0, help="messages a second")
    arguments = parser.parse_args()
    print(", ".join(f"{name} {value}" for name, value in describe_machine().items()))
    with TemporaryDirectory() as folder:
        return _soak(Path(folder), arguments.minutes, arguments.rate)


def _soak(folder: Path, minutes: int, rate: float) -> int:
    setup = whole_way.set_up(folder, os.devnull)
    callback_port, callback_count_port = free_port(), free_port()
    plugins = whole_way.SENDGRID.format(port=setup.provider, key=setup.public_key)
    pem = f'certificate = "{setup.certificate}"\nkey = "{setup.certificate}"'
    config = configure(folder, plugins, port=setup.port, server=pem)
    with (
        start_script("callback_sink.py", callback_port, callback_count_port, "delivered", setup.certificate),
        start_script(
            "reporting_provider.py",
            setup.provider,
            free_port(),
            setup.certificate,
            setup.folder / "reports.key",
            f"https://localhost:{setup.port}/webhooks/out",
            FAILING,
            environment=setup.environment,
        ),
        GatewayProcess(config, environment=setup.environment) as gateway,
        _load(setup, rate, minutes, f"https://localhost:{callback_port}/callback") as lines,
    ):
        measured = list(_measure(lines, gateway.pid, callback_count_port, folder))
        sent = measured[-1].load["sent"]
        arrived = _wait_for_callbacks(callback_count_port, sent)
    return _verdict(measured, sent, arrived, Path(gateway.log))


@contextmanager
def _load(setup: whole_way.Setup, rate: float, minutes: int, callback_url: str) -> Iterator[Iterator[str]]:
    """Run the load; yield its lines, one a minute."""
    command = [sys.executable, str(HERE / "soak_load.py"), f"https://localhost:{setup.port}"]
    command += [str(rate), str(minutes * 60), callback_url]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, **setup.environment}
    )
    assert process.stdout
    try:
        yield iter(process.stdout)
    finally:
        process.kill()
        process.wait()


def _measure(lines: Iterator[str], pid: int, count_port: int, folder: Path) -> Iterator[Minute]:
    """Yield each minute as it ends, and print it."""
    print("minute  accepted  refused  p50 ms  p99 ms  longest s  callbacks  RSS MB  CPU µs each  store MB")
    used, callbacks = cpu(pid), 0.0
    for number, line in enumerate(lines, 1):
        load = json.loads(line)
        store = sum(path.stat().st_size for path in folder.glob("gatepost.db*")) / 1e6
        minute = Minute(load, query_count(count_port)["count"], rss(pid), cpu(pid), store)
        each = (minute.cpu - used) / max(1, load["count"]) * 1e6
        print(
            f"{number:6} {load['count']:9.0f} {load['refused']:8.0f} {load['p50'] * 1000:7.1f} {load['p99'] * 1000:7.1f}"
            f" {load['longest']:10.2f} {minute.callbacks - callbacks:10.0f} {minute.memory:7.1f} {each:12.0f} {store:9.1f}",
            flush=True,
        )
        used, callbacks = minute.cpu, minute.callbacks
        yield minute


def _wait_for_callbacks(port: int, count: float) -> float:
    deadline = time.monotonic() + SETTLE
    while (arrived := query_count(port)["count"]) < count and time.monotonic() < deadline:
        time.sleep(0.5)
    return arrived


def _verdict(measured: list[Minute], sent: float, arrived: float, log: Path) -> int:
    """Print what the table says; return the exit code. The last line of the load is only a rest of a minute."""
    refused = sum(minute.load["refused"] for minute in measured)
    whole = measured[:-1]
    print(
        f"sent {sent:.0f}, refused or broken {refused:.0f}, without a callback of delivered {sent - arrived:.0f}"
    )
    # The first minutes fill caches and the pool of the allocator.
    third = max(1, (len(whole) - 1) // 3)
    if len(whole) >= 4:
        begin, end = whole[1 : 1 + third], whole[-third:]
        for name, first, last in (
            ("memory, MB", median(m.memory for m in begin), median(m.memory for m in end)),
            (
                "p99, ms",
                median(m.load["p99"] for m in begin) * 1000,
                median(m.load["p99"] for m in end) * 1000,
            ),
            ("store, kB a message", *_store_growth(begin, end)),
        ):
            print(
                f"{name}: {first:.2f} in the first minutes, {last:.2f} in the last, {last / first - 1:+.1%}"
            )
    events = Counter(
        (entry["level"], entry["event"])
        for line in log.read_text().splitlines()
        if line.startswith("{") and (entry := json.loads(line))["level"] in {"warning", "error", "critical"}
    )
    for (level, event), count in events.most_common():
        print(f"{level}: {event}, {count} times")
    return int(bool(refused) or arrived < sent)


def _store_growth(begin: list[Minute], end: list[Minute]) -> tuple[float, float]:
    """Return by how many kilobytes a message has made the store larger, in both parts."""
    return tuple(
        (part[-1].store - part[0].store) * 1000 / max(1.0, sum(m.load["count"] for m in part[1:])) or 0.001
        for part in (begin, end)
    )


if __name__ == "__main__":
    sys.exit(main())
