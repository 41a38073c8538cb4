"""*Accept*: durable accepts, compared with a handler that parses the same body and does nothing."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from databases import Postgres
from gateways import ONE_CLIENT, SMTP, SQLITE, configure, many_clients
from machine import Row, cpu, free_port, run_script, start_script
from slow_disk import COMMIT_DELAY

from gatepost.testing.process import GatewayProcess

CONNECTIONS = 64

RATIO_GOAL = 0.85
"""Throughput and CPU, as a share of the no-op's."""

P99_GOAL = 25.0
"""Milliseconds."""

SLOW_DISK_GOAL = 1000.0
"""Accepts per second."""


def rows(rounds: int, seconds: float) -> Iterator[Row]:
    """Measure on SQLite."""
    return _rows(rounds, seconds, "accept", goals=True)


def on_postgres(rounds: int, seconds: float) -> Iterator[Row]:
    """Measure on PostgreSQL, without goals because the server works on the same cores."""
    with Postgres() as server:
        yield from _rows(rounds, seconds, "accept, PostgreSQL", goals=False, server=server)


def _rows(
    rounds: int, seconds: float, name: str, *, goals: bool, server: Postgres | None = None
) -> Iterator[Row]:
    """Measure the no-op and the gateway in turn; yield medians of the ratios of neighbours."""
    ratio_goal, p99_goal = (RATIO_GOAL, P99_GOAL) if goals else (None, None)
    with TemporaryDirectory() as folder, ExitStack() as stack:
        # Nothing listens on the relay's port, so its breaker rests and the queue only grows.
        relay = SMTP.format(port=free_port(), connections=8)
        config = configure(Path(folder), relay, server.new_database() if server else SQLITE)
        port = free_port()
        noop_pid = stack.enter_context(start_script("noop.py", port))
        gateway = stack.enter_context(GatewayProcess(config))
        throughputs, cpu_ratios, p99s, refused, requests = [], [], [], 0.0, 0.0
        for number in range(rounds + 1):
            noop = _measure(noop_pid, f"http://127.0.0.1:{port}", seconds, f"noop{number}")
            server_cpu = server.cpu() if server else 0.0
            durable = _measure(gateway.pid, gateway.url, seconds, f"run{number}")
            server_cpu = (server.cpu() - server_cpu if server else 0.0) / durable["count"]
            requests += durable["count"]
            refused += durable["refused"]
            if number == 0:
                continue  # the warm-up
            throughputs.append(durable["rate"] / noop["rate"])
            cpu_ratios.append(noop["cpu"] / durable["cpu"])
            p99s.append(durable["p99"] * 1000)
    if refused:
        note = f"VOID: {refused:.0f} of {requests:.0f} were not accepted"
        yield Row(name, None, "", ratio_goal, note=note)
        return
    rate = f"{durable['rate']:.0f} a second; no-op {noop['rate']:.0f}"
    cost = f"{durable['cpu'] * 1e6:.0f} µs each; no-op {noop['cpu'] * 1e6:.0f}"
    cost += f"; the server {server_cpu * 1e6:.0f} beside that" if server else ""
    latency = f"at {CONNECTIONS} connections; half within {durable['p50'] * 1000:.0f} ms"
    yield Row(f"{name}: throughput", median(throughputs), "of no-op", ratio_goal, note=rate)
    yield Row(f"{name}: CPU", median(cpu_ratios), "of no-op", ratio_goal, note=cost)
    yield Row(f"{name}: p99", median(p99s), "ms", p99_goal, at_least=False, note=latency)


def many(rounds: int, seconds: float) -> Iterator[Row]:
    """Measure in turn ten clients with thirty rules, and one client with a list."""
    ratios, refused = [], 0.0
    with ExitStack() as stack:
        gateways = []
        for senders in (ONE_CLIENT, many_clients()):
            folder = Path(stack.enter_context(TemporaryDirectory()))
            relay = SMTP.format(port=free_port(), connections=8)
            gateways.append(stack.enter_context(GatewayProcess(configure(folder, relay, senders=senders))))
        for number in range(rounds + 1):
            one, several = (_measure(one.pid, one.url, seconds, f"run{number}") for one in gateways)
            refused += one["refused"] + several["refused"]
            if number:
                ratios.append(several["cpu"] / one["cpu"])
    note = f"{several['cpu'] * 1e6:.0f} µs each; one client {one['cpu'] * 1e6:.0f}"
    figure = None if refused else median(ratios)
    yield Row("accept, ten clients and thirty rules: CPU", figure, "of one client", None, note=note)


def slow_disk(rounds: int, seconds: float) -> Iterator[Row]:
    """Measure with 10 ms more in every commit; group commit must keep the throughput high."""
    name = "accept, slow disk: throughput"
    with TemporaryDirectory() as folder:
        port = free_port()
        config = configure(Path(folder), SMTP.format(port=free_port(), connections=8), port=port)
        with start_script("slow_disk.py", port, config) as pid:
            url = f"http://127.0.0.1:{port}"
            results = [_measure(pid, url, seconds, f"run{number}") for number in range(rounds + 1)][1:]
    refused = sum(one["refused"] for one in results)
    p50 = min(one["p50"] for one in results)
    if refused or p50 < COMMIT_DELAY:
        reason = f"{refused:.0f} were not accepted" if refused else "the commits were not slowed down"
        yield Row(name, None, "", SLOW_DISK_GOAL, note=f"VOID: {reason}")
        return
    note = f"10 ms asleep in every commit; half answered within {p50 * 1000:.0f} ms"
    yield Row(name, median(one["rate"] for one in results), "a second", SLOW_DISK_GOAL, note=note)


def _measure(pid: int, url: str, seconds: float, prefix: str) -> dict[str, float]:
    """Run the load; return what the driver counted, the rate per second, and CPU seconds per request."""
    before = cpu(pid)
    result = run_script("driver.py", url, CONNECTIONS, seconds, prefix)
    used = cpu(pid) - before
    return {**result, "rate": result["count"] / result["seconds"], "cpu": used / result["count"]}
