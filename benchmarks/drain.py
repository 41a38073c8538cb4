"""*Drain*: a full queue to a provider, against a bare loop that sends the same and stores nothing."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from gateways import SENDGRID, SMTP, configure, fill
from machine import Row, cpu, free_port, run, serving

from gatepost.testing.process import GatewayProcess


class Way(NamedTuple):
    """One kind of provider: its stand-in, the bare loop, the plugin."""

    name: str
    sink: str
    bare: str
    plugin: str
    connections: int
    goal: float


HTTP = Way("HTTP", "provider.py", "bare_http.py", SENDGRID, 64, 0.35)
MAIL = Way("SMTP", "smtp_sink.py", "bare_smtp.py", SMTP, 8, 0.8)


def rows(way: Way, rounds: int, count: int) -> Iterator[Row]:
    """Interleaved: the bare loop, the gateway, …; each on as many kept connections."""
    throughputs, costs = [], []
    for _ in range(rounds):
        port, asked = free_port(), free_port()
        with serving(way.sink, port, asked):
            bare = run(way.bare, port, count, way.connections)
        drained = _drained(way, count)
        throughputs.append(bare["seconds"] / drained["seconds"])
        costs.append(bare["cpu"] / drained["cpu"])
    each = f"{drained['cpu'] / count * 1e6:.0f} µs CPU each; bare {bare['cpu'] / count * 1e6:.0f}"
    rate = f"{count / drained['seconds']:.0f}/s; bare {count / bare['seconds']:.0f}"
    yield Row(f"drain {way.name}, CPU", median(costs), "of bare", way.goal, note=each)
    yield Row(f"drain {way.name}, throughput", median(throughputs), "of bare", way.goal, note=rate)


def _drained(way: Way, count: int) -> dict[str, float]:
    port, asked = free_port(), free_port()
    with TemporaryDirectory() as folder, serving(way.sink, port, asked):
        config = configure(Path(folder), way.plugin.format(port=port, connections=way.connections))
        fill(Path(folder), count)
        with GatewayProcess(config) as gateway:
            # Its start is behind it when it listens, and so is a little of the drain: that is taken off.
            spent, already = cpu(gateway.pid), _taken(asked)["count"]
            taken = _until(lambda: _taken(asked), count)
            spent = cpu(gateway.pid) - spent
        return {"cpu": spent * count / (count - already), "seconds": taken["last"] - taken["first"]}


def _until(look: Callable[[], dict[str, float]], count: int) -> dict[str, float]:
    deadline = time.monotonic() + 300
    while (seen := look())["count"] < count:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{seen['count']} of {count} arrived")
        time.sleep(0.05)
    return seen


def _taken(port: int) -> dict[str, float]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as asking, asking.makefile() as answer:
        return json.loads(answer.read())
