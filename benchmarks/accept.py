"""*Accept*: durable accepts against a handler that parses the same body and does nothing."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from gateways import SMTP, configure
from machine import Row, cpu, free_port, run, serving

from gatepost.testing.process import GatewayProcess

CONNECTIONS = 64


def rows(rounds: int, seconds: float, store: str = "sqlite:///gatepost.db", name: str = "") -> Iterator[Row]:
    """Interleaved: the yardstick, the gateway, the yardstick, …; ratios of neighbours, then the median."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        # A relay that nobody runs: its breaker rests, and the queue only grows.
        config = configure(Path(folder), SMTP.format(port=free_port(), connections=8), store)
        port = free_port()
        noop = stack.enter_context(serving("noop.py", port))
        gateway = stack.enter_context(GatewayProcess(config))
        throughputs, costs, latencies, refused = [], [], [], 0.0
        for number in range(rounds + 1):
            idle = _measured(noop, f"http://127.0.0.1:{port}", seconds, f"noop{number}")
            durable = _measured(gateway.pid, gateway.url, seconds, f"run{number}")
            if number == 0:
                continue  # to warm up
            refused += durable["refused"]
            throughputs.append(durable["rate"] / idle["rate"])
            costs.append(idle["cost"] / durable["cost"])
            latencies.append(durable["p99"] * 1000)
        note = f"{durable['rate']:.0f}/s, {durable['cost'] * 1e6:.0f} µs CPU each; no-op {idle['rate']:.0f}/s"
        if refused:
            note = f"VOID: {refused:.0f} were not accepted"
        yield Row(f"accept{name}, throughput", median(throughputs), "of no-op", 0.65, note=note)
        yield Row(f"accept{name}, CPU", median(costs), "of no-op", 0.65)
        yield Row(f"accept{name}, p99", median(latencies), "ms", 50.0, at_least=False)


def _measured(pid: int, url: str, seconds: float, prefix: str) -> dict[str, float]:
    before = cpu(pid)
    counted = run("driver.py", url, CONNECTIONS, seconds, prefix)
    spent = cpu(pid) - before
    return {**counted, "rate": counted["count"] / counted["seconds"], "cost": spent / counted["count"]}
