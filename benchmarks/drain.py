"""*Drain*: a full queue to a provider, against a bare loop that sends the same and stores nothing."""

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.request import urlopen

from databases import Postgres
from gateways import SENDGRID, SMTP, SQLITE, configure, fill
from machine import Row, asked, cpu, free_port, run, serving, until
from prometheus_client.parser import text_string_to_metric_families

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

LIMIT = 2
"""Connections that the relay with a limit allows."""
LIMIT_GOAL = 1.5
FEWER = MAIL._replace(plugin=SMTP.replace("\nconnections = {connections}", f"\nconnections = {LIMIT}"))
"""As many sends at once as MAIL has, so that only the connections differ."""


def rows(way: Way, rounds: int, count: int) -> Iterator[Row]:
    """On SQLite."""
    return _rows(way, f"drain, {way.name}", rounds, count, way.goal)


def with_callbacks(rounds: int, count: int) -> Iterator[Row]:
    """Reported: until Smartico was told of each message that it is sent; the bare loop tells nobody."""
    return _rows(HTTP, "drain, HTTP, with callbacks", rounds, count, None, told=True)


def on_postgres(rounds: int, count: int) -> Iterator[Row]:
    """Reported: the server works on the same cores."""
    with Postgres() as server:
        yield from _rows(HTTP, "drain, HTTP, PostgreSQL", rounds, count, None, server)


def limited(rounds: int, count: int) -> Iterator[Row]:
    """Interleaved: a relay that allows fewer connections than configured, and one that is asked for no more."""
    name, unit = "drain, SMTP, a relay with a limit", "of no limit"
    times, costs, failed = [], [], 0.0
    for _ in range(rounds):
        free = _drained(FEWER, count)
        tight = _drained(MAIL, count, limit=LIMIT)
        times.append(tight["seconds"] / free["seconds"])
        costs.append(tight["cpu"] / free["cpu"])
        failed += tight["failed"] + free["failed"]
    if failed:
        yield Row(name, None, "", LIMIT_GOAL, at_least=False, note=f"VOID: {failed:.0f} sends failed")
        return
    rate = f"{count / tight['seconds']:.0f} a second; no limit {count / free['seconds']:.0f}"
    each = f"{tight['cpu'] / count * 1e6:.0f} µs each; no limit {free['cpu'] / count * 1e6:.0f}"
    yield Row(f"{name}: time", median(times), unit, LIMIT_GOAL, at_least=False, note=rate)
    yield Row(f"{name}: CPU", median(costs), unit, LIMIT_GOAL, at_least=False, note=each)


def _rows(
    way: Way,
    name: str,
    rounds: int,
    count: int,
    goal: float | None,
    server: Postgres | None = None,
    *,
    told: bool = False,
) -> Iterator[Row]:
    """Interleaved: the bare loop, the gateway, …; each on as many kept connections."""
    throughputs, costs = [], []
    for _ in range(rounds):
        port, asking = free_port(), free_port()
        with serving(way.sink, port, asking):
            bare = run(way.bare, port, count, way.connections)
        drained = _drained(way, count, server, told=told)
        throughputs.append(bare["seconds"] / drained["seconds"])
        costs.append(bare["cpu"] / drained["cpu"])
    each = f"{drained['cpu'] / count * 1e6:.0f} µs each; bare {bare['cpu'] / count * 1e6:.0f}"
    each += f"; the server {drained['aside'] / count * 1e6:.0f} beside that" if server else ""
    rate = f"{count / drained['seconds']:.0f} a second; bare {count / bare['seconds']:.0f}"
    yield Row(f"{name}: throughput", median(throughputs), "of bare", goal, note=rate)
    yield Row(f"{name}: CPU", median(costs), "of bare", goal, note=each)


def _drained(
    way: Way, count: int, server: Postgres | None = None, *, told: bool = False, limit: int | None = None
) -> dict[str, float]:
    port, asking, callbacks, counting = free_port(), free_port(), free_port(), free_port()
    store = server.new_database() if server else SQLITE
    with (
        TemporaryDirectory() as folder,
        serving(way.sink, port, asking, *([limit] if limit else [])),
        serving("callback_sink.py", callbacks, counting, "accepted"),
    ):
        config = configure(Path(folder), way.plugin.format(port=port, connections=way.connections), store)
        url = f"http://127.0.0.1:{callbacks}/callback" if told else ""
        fill(Path(folder), count, store, callback_url=url)
        end = counting if told else asking
        with GatewayProcess(config) as gateway:
            # Its start is behind it when it listens, and so is a little of the drain: that is taken off.
            spent, aside, already = cpu(gateway.pid), server.cpu() if server else 0.0, asked(end)["count"]
            taken = until(count, lambda: asked(end))
            spent, aside = cpu(gateway.pid) - spent, (server.cpu() if server else 0.0) - aside
            failed = _failed(gateway.url)
        whole = count / (count - already)
        return {
            "cpu": spent * whole,
            "aside": aside * whole,
            "seconds": taken["last"] - taken["first"],
            "failed": failed,
        }


def _failed(url: str) -> float:
    """Count the sends that did not end well, such as those that make the instance rest."""
    with urlopen(f"{url}/metrics") as answer:
        families = text_string_to_metric_families(answer.read().decode())
    sends = [one for family in families for one in family.samples if one.name == "gatepost_sends_total"]
    return sum(one.value for one in sends if one.labels["outcome"] != "sent")
