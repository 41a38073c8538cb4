"""The fuzz bench: mutated requests against a real gateway process. Run by ``make fuzz``."""
# ruff: noqa: T201  it talks to whoever runs it

import argparse
import random
import resource
import selectors
import socket
import sys
import tempfile
import time
from pathlib import Path

from fuzz import gateway
from fuzz.driver import Bench, Line
from gatepost.testing.process import GatewayProcess


def silent_crowd(process: GatewayProcess, count: int) -> tuple[int, float]:
    """So many connections that say nothing. Somebody who says something is answered meanwhile, and in the end
    all of them are closed. Returns the most memory (bytes) and the seconds until the last was closed."""
    address = gateway.address(process)
    crowd = selectors.DefaultSelector()
    try:
        for _ in range(count):
            crowd.register(socket.create_connection(address), selectors.EVENT_READ)
        begin = time.monotonic()
        caller = Line(address)
        caller.send(gateway.request(body=gateway.message()))
        answer = caller.read()
        caller.close()
        assert answer is not None
        assert answer.code == 1
        most = gateway.memory(process.pid)
        while crowd.get_map():
            for key, _ in crowd.select(30):
                crowd.unregister(key.fileobj)
                key.fileobj.close()
        return most, time.monotonic() - begin
    finally:
        for key in list(crowd.get_map().values()):
            key.fileobj.close()
        crowd.close()


def main() -> int:
    """Throw, judge, report; 1 when something came that must not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, GatewayProcess(gateway.write(Path(folder))) as process:
        print(f"seed {arguments.seed}, {arguments.count} requests", flush=True)
        begin = time.monotonic()
        bench = Bench(gateway.address(process), arguments.seed)
        warm = min(20_000, arguments.count // 2)
        bench.run(warm)
        before = gateway.memory(process.pid)
        while bench.sent < arguments.count and not bench.violations:
            bench.run(min(50_000, arguments.count - bench.sent))
            now = gateway.memory(process.pid)
            print(f"{bench.sent} sent, memory {now / 2**20:.1f} MiB", flush=True)
        after = gateway.memory(process.pid)
        bench.close()
        crowd = min(10_000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1_000)
        most, last = silent_crowd(process, crowd)
        print(f"{crowd} silent connections: {most / 2**20:.1f} MiB, the last was closed after {last:.1f} s")
        failed = gateway.faults(process.log)
        seconds = time.monotonic() - begin
        cpu = gateway.cpu_seconds(process.pid)
    print(f"answers: {dict(sorted(bench.answers.items()))}")
    print(f"{seconds:.0f} s, {bench.sent / seconds:.0f} a second, {cpu / bench.sent * 1e6:.0f} µs CPU each")
    print(f"memory {before / 2**20:.1f} -> {after / 2**20:.1f} MiB ({(after / before - 1) * 100:+.1f} %)")
    print(f"{len(bench.violations)} violations, {len(failed)} faults in the log")
    for line in (*bench.violations, *failed[:20]):
        print(line)
    return 1 if bench.violations or failed or after > before * 1.1 else 0


if __name__ == "__main__":
    sys.exit(main())
