"""*Drain*: a full queue to a provider, compared with a bare loop that sends the same and stores nothing."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.request import urlopen

from databases import Postgres
from gateways import ONE_CLIENT, SENDGRID, SMTP, SQLITE, Senders, configure, fill_queue, many_clients
from machine import Row, cpu, free_port, query_count, run_script, start_script, wait_for_count
from prometheus_client.parser import text_string_to_metric_families

from gatepost.testing.process import GatewayProcess


class Protocol(NamedTuple):
    """A protocol to a provider: the scripts of the server and of the bare loop, and the plugin."""

    name: str
    server: str
    bare_loop: str
    plugin: str
    connections: int
    goal: float
    """Throughput and CPU, as a share of the bare loop's."""


Watch = Callable[[int], AbstractContextManager[object]]
"""Does something with the process of a gateway while it works, such as sampling it."""

HTTP_PROVIDER = Protocol("HTTP", "provider.py", "bare_http.py", SENDGRID, 64, 0.8)
SMTP_PROVIDER = Protocol("SMTP", "smtp_sink.py", "bare_smtp.py", SMTP, 8, 3.0)

CONNECTION_LIMIT = 2
"""Connections that the relay with a limit allows."""

CALLBACKS_GOAL = 0.45
"""Throughput and CPU with callbacks, as a share of the bare loop's, which makes none."""

POSTGRES_GOAL = 1.3
"""CPU of the gateway on PostgreSQL, as a multiple of that on SQLite."""

LIMIT_GOAL = 1.5
"""Time and CPU with a limit that must be discovered, as a multiple of those with a configured limit."""

LIMIT_CONFIGURED = SMTP_PROVIDER._replace(
    plugin=SMTP.replace("\nconnections = {connections}", f"\nconnections = {CONNECTION_LIMIT}")
)
"""SMTP_PROVIDER with the limit configured and the same concurrency, so that only the connections differ."""


def rows(protocol: Protocol, rounds: int, count: int) -> Iterator[Row]:
    """Measure on SQLite."""
    return _rows(protocol, f"drain, {protocol.name}", rounds, count, protocol.goal)


def with_callbacks(rounds: int, count: int) -> Iterator[Row]:
    """Measure until Smartico has the callback of each message; the bare loop makes no callbacks."""
    return _rows(HTTP_PROVIDER, "drain, HTTP, with callbacks", rounds, count, CALLBACKS_GOAL, callbacks=True)


def on_postgres(rounds: int, count: int) -> Iterator[Row]:
    """Measure in turn on SQLite and on PostgreSQL, whose server works on the same cores."""
    with Postgres() as server:
        for callbacks, name in (
            (False, "drain, HTTP, PostgreSQL"),
            (True, "drain, HTTP, with callbacks, PostgreSQL"),
        ):
            ratios = []
            for _ in range(rounds):
                sqlite = measure(HTTP_PROVIDER, count, callbacks=callbacks)
                postgres = measure(HTTP_PROVIDER, count, server, callbacks=callbacks)
                ratios.append(postgres["cpu"] / sqlite["cpu"])
            each = [
                f"{one / count * 1e6:.0f}" for one in (postgres["cpu"], sqlite["cpu"], postgres["server_cpu"])
            ]
            note = f"{each[0]} µs each; SQLite {each[1]}; the server {each[2]} beside that"
            yield Row(f"{name}: CPU", median(ratios), "of SQLite", POSTGRES_GOAL, at_least=False, note=note)


def limited(rounds: int, count: int) -> Iterator[Row]:
    """Measure in turn a relay that allows fewer connections than configured, and one without a limit."""
    name, unit = "drain, SMTP, a relay with a limit", "of no limit"
    times, cpu_ratios, failed = [], [], 0.0
    for _ in range(rounds):
        unlimited = measure(LIMIT_CONFIGURED, count)
        limited = measure(SMTP_PROVIDER, count, limit=CONNECTION_LIMIT)
        times.append(limited["seconds"] / unlimited["seconds"])
        cpu_ratios.append(limited["cpu"] / unlimited["cpu"])
        failed += limited["failed"] + unlimited["failed"]
    if failed:
        yield Row(name, None, "", LIMIT_GOAL, at_least=False, note=f"VOID: {failed:.0f} sends failed")
        return
    rate = f"{count / limited['seconds']:.0f} a second; no limit {count / unlimited['seconds']:.0f}"
    each = f"{limited['cpu'] / count * 1e6:.0f} µs each; no limit {unlimited['cpu'] / count * 1e6:.0f}"
    yield Row(f"{name}: time", median(times), unit, LIMIT_GOAL, at_least=False, note=rate)
    yield Row(f"{name}: CPU", median(cpu_ratios), unit, LIMIT_GOAL, at_least=False, note=each)


def many(rounds: int, count: int) -> Iterator[Row]:
    """Measure in turn ten clients with thirty rules, and one client with a list."""
    ratios, failed = [], 0.0
    for _ in range(rounds):
        one = measure(HTTP_PROVIDER, count)
        several = measure(HTTP_PROVIDER, count, senders=many_clients())
        ratios.append(several["cpu"] / one["cpu"])
        failed += one["failed"] + several["failed"]
    note = f"{several['cpu'] / count * 1e6:.0f} µs each; one client {one['cpu'] / count * 1e6:.0f}"
    figure = None if failed else median(ratios)
    yield Row("drain, ten clients and thirty rules: CPU", figure, "of one client", None, note=note)


def _rows(
    protocol: Protocol,
    name: str,
    rounds: int,
    count: int,
    goal: float,
    *,
    callbacks: bool = False,
) -> Iterator[Row]:
    """Measure the bare loop and the gateway in turn, each on the same number of keep-alive connections."""
    throughputs, cpu_ratios = [], []
    for _ in range(rounds):
        port, count_port = free_port(), free_port()
        with start_script(protocol.server, port, count_port):
            bare = run_script(protocol.bare_loop, port, count, protocol.connections)
        drained = measure(protocol, count, callbacks=callbacks)
        throughputs.append(bare["seconds"] / drained["seconds"])
        cpu_ratios.append(bare["cpu"] / drained["cpu"])
    each = f"{drained['cpu'] / count * 1e6:.0f} µs each; bare {bare['cpu'] / count * 1e6:.0f}"
    rate = f"{count / drained['seconds']:.0f} a second; bare {count / bare['seconds']:.0f}"
    yield Row(f"{name}: throughput", median(throughputs), "of bare", goal, note=rate)
    yield Row(f"{name}: CPU", median(cpu_ratios), "of bare", goal, note=each)


def measure(
    protocol: Protocol,
    count: int,
    server: Postgres | None = None,
    *,
    callbacks: bool = False,
    limit: int | None = None,
    senders: Senders = ONE_CLIENT,
    watch: Watch = nullcontext,
) -> dict[str, float]:
    """Start a gateway with ``count`` queued messages, and measure until the last one has arrived."""
    port, count_port, callback_port, callback_count_port = (free_port() for _ in range(4))
    store = server.new_database() if server else SQLITE
    with (
        TemporaryDirectory() as folder,
        start_script(protocol.server, port, count_port, *([limit] if limit else [])),
        start_script("callback_sink.py", callback_port, callback_count_port, "accepted"),
    ):
        plugin = protocol.plugin.format(port=port, connections=protocol.connections)
        config = configure(Path(folder), plugin, store, senders=senders)
        url = f"http://127.0.0.1:{callback_port}/callback" if callbacks else ""
        fill_queue(Path(folder), count, store, callback_url=url, senders=senders)
        last_port = callback_count_port if callbacks else count_port
        with GatewayProcess(config) as gateway, watch(gateway.pid):
            # CPU is counted from now on, but some messages have arrived already: it is scaled up to all of them.
            used, server_used = cpu(gateway.pid), server.cpu() if server else 0.0
            already = query_count(last_port)["count"]
            arrived = wait_for_count(last_port, count)
            used = cpu(gateway.pid) - used
            server_used = (server.cpu() if server else 0.0) - server_used
            failed = _failed_sends(gateway.url)
        whole = count / (count - already)
        return {
            "cpu": used * whole,
            "server_cpu": server_used * whole,
            "seconds": arrived["last"] - arrived["first"],
            "failed": failed,
        }


def _failed_sends(url: str) -> float:
    """Return the number of sends with another outcome than ``sent``."""
    with urlopen(f"{url}/metrics") as answer:
        families = text_string_to_metric_families(answer.read().decode())
    sends = [one for family in families for one in family.samples if one.name == "gatepost_sends_total"]
    return sum(one.value for one in sends if one.labels["outcome"] != "sent")
