"""*Drain*: a full queue to a provider, against a bare loop that posts the same and stores nothing."""

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from gateways import SENDGRID, configure, fill
from machine import Row, cpu, free_port, run, serving

from gatepost.testing.process import GatewayProcess

CONCURRENCY = 64


def http_rows(rounds: int, count: int) -> Iterator[Row]:
    """Interleaved: the bare loop, the gateway, …; each with the same number of connections."""
    throughputs, costs = [], []
    for _ in range(rounds):
        port = free_port()
        with serving("provider.py", port):
            bare = run("bare_http.py", port, count, CONCURRENCY)
        drained = _drained(count)
        throughputs.append(bare["seconds"] / drained["seconds"])
        costs.append(bare["cpu"] / drained["cpu"])
    each = f"{drained['cpu'] / count * 1e6:.0f} µs CPU each; bare {bare['cpu'] / count * 1e6:.0f}"
    yield Row("drain HTTP, CPU", median(costs), "of bare", 0.35, note=each)
    yield Row("drain HTTP, throughput", median(throughputs), "of bare", 0.35)


def _drained(count: int) -> dict[str, float]:
    port = free_port()
    with TemporaryDirectory() as folder, serving("provider.py", port):
        config = configure(Path(folder), SENDGRID.format(port=port, connections=CONCURRENCY))
        fill(Path(folder), count)
        with GatewayProcess(config) as gateway:
            # The process has its start behind it when it listens; what follows is the drain.
            spent = cpu(gateway.pid)
            already = _taken(port)["count"]
            deadline = time.monotonic() + 300
            while (taken := _taken(port))["count"] < count and time.monotonic() < deadline:
                time.sleep(0.05)
            spent = cpu(gateway.pid) - spent
        if taken["count"] != count:
            raise RuntimeError(f"{taken['count']} of {count} arrived")
        share = (count - already) / count
        return {"cpu": spent / share, "seconds": taken["last"] - taken["first"]}


def _taken(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        return json.load(answer)
