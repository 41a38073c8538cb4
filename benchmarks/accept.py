"""*Accept*: durable accepts against a handler that parses the same body and does nothing."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from databases import Postgres
from gateways import SMTP, SQLITE, configure
from machine import Row, cpu, free_port, run, serving
from slow_disk import SLOWER

from gatepost.testing.process import GatewayProcess

CONNECTIONS = 64
GOAL = 0.65


def rows(rounds: int, seconds: float) -> Iterator[Row]:
    """On SQLite."""
    return _rows(rounds, seconds, "accept", GOAL)


def on_postgres(rounds: int, seconds: float) -> Iterator[Row]:
    """Reported: the server works on the same cores."""
    with Postgres() as server:
        yield from _rows(rounds, seconds, "accept, PostgreSQL", None, server)


def _rows(
    rounds: int, seconds: float, name: str, goal: float | None, server: Postgres | None = None
) -> Iterator[Row]:
    """Interleaved: the yardstick, the gateway, the yardstick, …; ratios of neighbours, then the median."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        # A relay that nobody runs: its breaker rests, and the queue only grows.
        relay = SMTP.format(port=free_port(), connections=8)
        config = configure(Path(folder), relay, server.new_database() if server else SQLITE)
        port = free_port()
        noop = stack.enter_context(serving("noop.py", port))
        gateway = stack.enter_context(GatewayProcess(config))
        throughputs, costs, latencies, refused, taken = [], [], [], 0.0, 0.0
        for number in range(rounds + 1):
            idle = _measured(noop, f"http://127.0.0.1:{port}", seconds, f"noop{number}")
            aside = server.cpu() if server else 0.0
            durable = _measured(gateway.pid, gateway.url, seconds, f"run{number}")
            aside = (server.cpu() - aside if server else 0.0) / durable["count"]
            taken += durable["count"]
            refused += durable["refused"]
            if number == 0:
                continue  # to warm up
            throughputs.append(durable["rate"] / idle["rate"])
            costs.append(idle["cost"] / durable["cost"])
            latencies.append(durable["p99"] * 1000)
    if refused:
        yield Row(name, None, "", goal, note=f"VOID: {refused:.0f} of {taken:.0f} were not accepted")
        return
    rate = f"{durable['rate']:.0f} a second; no-op {idle['rate']:.0f}"
    cost = f"{durable['cost'] * 1e6:.0f} µs each; no-op {idle['cost'] * 1e6:.0f}"
    cost += f"; the server {aside * 1e6:.0f} beside that" if server else ""
    late = f"at {CONNECTIONS} connections; half within {durable['p50'] * 1000:.0f} ms"
    yield Row(f"{name}: throughput", median(throughputs), "of no-op", goal, note=rate)
    yield Row(f"{name}: CPU", median(costs), "of no-op", goal, note=cost)
    yield Row(f"{name}: p99", median(latencies), "ms", goal and 50.0, at_least=False, note=late)


def slow_disk(rounds: int, seconds: float) -> Iterator[Row]:
    """With 10 ms added to every commit: as many as share one must make up for it."""
    name = "accept, slow disk: throughput"
    with TemporaryDirectory() as folder:
        port = free_port()
        config = configure(Path(folder), SMTP.format(port=free_port(), connections=8), port=port)
        with serving("slow_disk.py", port, config) as pid:
            url = f"http://127.0.0.1:{port}"
            measured = [_measured(pid, url, seconds, f"run{number}") for number in range(rounds + 1)][1:]
    refused = sum(one["refused"] for one in measured)
    quickest = min(one["p50"] for one in measured)
    if refused or quickest < SLOWER:
        why = f"{refused:.0f} were not accepted" if refused else "the commits were not slowed down"
        yield Row(name, None, "", 1000.0, note=f"VOID: {why}")
        return
    note = f"10 ms asleep in every commit; half answered within {quickest * 1000:.0f} ms"
    yield Row(name, median(one["rate"] for one in measured), "a second", 1000.0, note=note)


def _measured(pid: int, url: str, seconds: float, prefix: str) -> dict[str, float]:
    before = cpu(pid)
    counted = run("driver.py", url, CONNECTIONS, seconds, prefix)
    spent = cpu(pid) - before
    return {**counted, "rate": counted["count"] / counted["seconds"], "cost": spent / counted["count"]}
