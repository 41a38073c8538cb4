"""*Drain*: a full queue to a provider, against a bare loop that sends the same and stores nothing."""

from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from databases import Postgres
from gateways import SENDGRID, SMTP, SQLITE, configure, fill
from machine import Row, asked, cpu, free_port, run, serving, until

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
    """On SQLite."""
    return _rows(way, f"drain, {way.name}", rounds, count, way.goal, lambda: SQLITE, lambda: "")


def on_postgres(rounds: int, count: int) -> Iterator[Row]:
    """Reported: the server works on the same cores."""
    with Postgres() as server:
        before = server.cpu()
        yield from _rows(
            HTTP,
            "drain, HTTP, PostgreSQL",
            rounds,
            count,
            None,
            server.new_database,
            lambda: f"; the server took {server.cpu() - before:.1f} s beside that, filling included",
        )


def _rows(
    way: Way,
    name: str,
    rounds: int,
    count: int,
    goal: float | None,
    store: Callable[[], str],
    aside: Callable[[], str],
) -> Iterator[Row]:
    """Interleaved: the bare loop, the gateway, …; each on as many kept connections."""
    throughputs, costs = [], []
    for _ in range(rounds):
        port, asking = free_port(), free_port()
        with serving(way.sink, port, asking):
            bare = run(way.bare, port, count, way.connections)
        drained = _drained(way, count, store())
        throughputs.append(bare["seconds"] / drained["seconds"])
        costs.append(bare["cpu"] / drained["cpu"])
    each = f"{drained['cpu'] / count * 1e6:.0f} µs each; bare {bare['cpu'] / count * 1e6:.0f}{aside()}"
    rate = f"{count / drained['seconds']:.0f} a second; bare {count / bare['seconds']:.0f}"
    yield Row(f"{name}: throughput", median(throughputs), "of bare", goal, note=rate)
    yield Row(f"{name}: CPU", median(costs), "of bare", goal, note=each)


def _drained(way: Way, count: int, store: str) -> dict[str, float]:
    port, asking = free_port(), free_port()
    with TemporaryDirectory() as folder, serving(way.sink, port, asking):
        config = configure(Path(folder), way.plugin.format(port=port, connections=way.connections), store)
        fill(Path(folder), count, store)
        with GatewayProcess(config) as gateway:
            # Its start is behind it when it listens, and so is a little of the drain: that is taken off.
            spent, already = cpu(gateway.pid), asked(asking)["count"]
            taken = until(count, lambda: asked(asking))
            spent = cpu(gateway.pid) - spent
        return {"cpu": spent * count / (count - already), "seconds": taken["last"] - taken["first"]}
