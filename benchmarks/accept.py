"""*Accept*: durable accepts, compared with a handler that parses the same body and does nothing."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.request import urlopen

from databases import Postgres
from gateways import ONE_CLIENT, SMTP, SQLITE, Senders, configure, many_clients
from load import answered_with_error, put_load
from machine import Row, cpu, free_port, start_script
from slow_disk import COMMIT_DELAY

from gatepost.testing.process import GatewayProcess

CONNECTIONS = 64

RATIO_GOAL = 0.85
"""Throughput and CPU, as a share of the no-op's."""

P99_GOAL = 25.0
"""Milliseconds."""

SLOW_DISK_GOAL = 1000.0
"""Accepts per second."""

POSTGRES_GOAL = 1.3
"""CPU of the gateway on PostgreSQL, as a multiple of that on SQLite."""


class Target(NamedTuple):
    """A server under load."""

    pid: int
    url: str


def rows(rounds: int, seconds: float) -> Iterator[Row]:
    """Measure the no-op and the gateway in turn; yield medians of the ratios of neighbours."""
    with ExitStack() as stack:
        noop, gateway = _noop(stack), start_gateway(stack)
        pairs = _in_turn(noop, gateway, rounds, seconds)
        refused = _refused_by(gateway)
    noop_last, last = pairs[-1]
    if refused:
        yield Row("accept", None, "", RATIO_GOAL, note=f"VOID: {refused:.0f} were not accepted")
        return
    rate = f"{last['rate']:.0f} a second; no-op {noop_last['rate']:.0f}"
    cost = f"{last['cpu'] * 1e6:.0f} µs each; no-op {noop_last['cpu'] * 1e6:.0f}"
    latency = f"at {CONNECTIONS} connections; half within {last['p50'] * 1000:.0f} ms"
    throughput = median(durable["rate"] / noop["rate"] for noop, durable in pairs)
    used = median(noop["cpu"] / durable["cpu"] for noop, durable in pairs)
    p99 = median(durable["p99"] * 1000 for _, durable in pairs)
    yield Row("accept: throughput", throughput, "of no-op", RATIO_GOAL, note=rate)
    yield Row("accept: CPU", used, "of no-op", RATIO_GOAL, note=cost)
    yield Row("accept: p99", p99, "ms", P99_GOAL, at_least=False, note=latency)


def on_postgres(rounds: int, seconds: float) -> Iterator[Row]:
    """Measure in turn a gateway on SQLite and one on PostgreSQL, whose server works on the same cores."""
    with Postgres() as server, ExitStack() as stack:
        sqlite, postgres = start_gateway(stack), start_gateway(stack, server.new_database())
        before = server.cpu()
        pairs = _in_turn(sqlite, postgres, rounds, seconds)
        count = sum(one["count"] for _, one in pairs)
        server_cpu = (server.cpu() - before) / count
        refused = _refused_by(sqlite) + _refused_by(postgres)
    yield _cost_row(
        "accept, PostgreSQL: CPU", pairs, refused, "of SQLite", POSTGRES_GOAL, "SQLite", server_cpu
    )


def many(rounds: int, seconds: float) -> Iterator[Row]:
    """Measure in turn ten clients with thirty rules, and one client with a list."""
    with ExitStack() as stack:
        one, several = start_gateway(stack), start_gateway(stack, senders=many_clients())
        pairs = _in_turn(one, several, rounds, seconds)
        refused = _refused_by(one) + _refused_by(several)
    name = "accept, ten clients and thirty rules: CPU"
    yield _cost_row(name, pairs, refused, "of one client", None, "one client")


def slow_disk(rounds: int, seconds: float) -> Iterator[Row]:
    """Measure with 10 ms more in every commit; group commit must keep the throughput high."""
    name = "accept, slow disk: throughput"
    with TemporaryDirectory() as folder:
        port = free_port()
        config = configure(Path(folder), SMTP.format(port=free_port(), connections=8), port=port)
        with start_script("slow_disk.py", port, config) as pid:
            target = Target(pid, f"http://127.0.0.1:{port}")
            _refused_by(target)  # Its socket listens before it has started; this waits for an answer.
            results = [_measure(target, seconds, f"run{number}") for number in range(rounds + 1)][1:]
            refused = _refused_by(target)
    p50 = min(one["p50"] for one in results)
    if refused or p50 < COMMIT_DELAY:
        reason = f"{refused:.0f} were not accepted" if refused else "the commits were not slowed down"
        yield Row(name, None, "", SLOW_DISK_GOAL, note=f"VOID: {reason}")
        return
    note = f"10 ms asleep in every commit; half answered within {p50 * 1000:.0f} ms"
    yield Row(name, median(one["rate"] for one in results), "a second", SLOW_DISK_GOAL, note=note)


def _noop(stack: ExitStack) -> Target:
    port = free_port()
    return Target(stack.enter_context(start_script("noop.py", port)), f"http://127.0.0.1:{port}")


def start_gateway(stack: ExitStack, store: str = SQLITE, senders: Senders = ONE_CLIENT) -> Target:
    """Start a gateway. Nothing listens on its relay's port, so its breaker rests and the queue only grows."""
    folder = Path(stack.enter_context(TemporaryDirectory()))
    relay = SMTP.format(port=free_port(), connections=8)
    gateway = stack.enter_context(GatewayProcess(configure(folder, relay, store, senders=senders)))
    return Target(gateway.pid, gateway.url)


def _in_turn(
    one: Target, other: Target, rounds: int, seconds: float
) -> list[tuple[dict[str, float], dict[str, float]]]:
    """Put load on both in turn; return the figures of each round but the first, which warms up."""
    return [
        (_measure(one, seconds, f"run{number}"), _measure(other, seconds, f"run{number}"))
        for number in range(rounds + 1)
    ][1:]


def _measure(target: Target, seconds: float, prefix: str) -> dict[str, float]:
    """Put load on a server; return what the driver counted, the rate per second, and CPU seconds per request."""
    before = cpu(target.pid)
    result = put_load(target.url, CONNECTIONS, seconds, prefix)
    used = cpu(target.pid) - before
    if result["refused"] or not result["count"]:
        raise RuntimeError(
            f"{result['refused']:.0f} requests were not answered or not accepted, and {result['count']:.0f} were"
        )
    return {**result, "rate": result["count"] / result["seconds"], "cpu": used / result["count"]}


def _refused_by(gateway: Target) -> float:
    """Return how many requests the gateway has refused since its start: wrk does not read the answers."""
    with urlopen(f"{gateway.url}/metrics") as answer:
        return answered_with_error(answer.read().decode())


def _cost_row(
    name: str,
    pairs: list[tuple[dict[str, float], dict[str, float]]],
    refused: float,
    unit: str,
    goal: float | None,
    other: str,
    server_cpu: float = 0.0,
) -> Row:
    """Return the row of the second one's CPU as a multiple of the first one's."""
    if refused:
        return Row(name, None, "", goal, at_least=False, note=f"VOID: {refused:.0f} were not accepted")
    first, second = pairs[-1]
    note = f"{second['cpu'] * 1e6:.0f} µs each; {other} {first['cpu'] * 1e6:.0f}"
    note += f"; the server {server_cpu * 1e6:.0f} beside that" if server_cpu else ""
    figure = median(second["cpu"] / first["cpu"] for first, second in pairs)
    return Row(name, figure, unit, goal, at_least=False, note=note)
