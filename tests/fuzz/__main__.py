"""Send mutated requests to a real gateway process and check every answer; ``make fuzz`` runs it."""
# ruff: noqa: T201  a command that prints to the terminal

import argparse
import random
import resource
import tempfile
import time
from pathlib import Path

from fuzz import gateway
from fuzz.driver import Fuzzer
from fuzz.silent_connections import hold_silent_connections
from gatepost.testing.process import GatewayProcess

MAX_GROWTH = 1.1
"""Memory at the end, as a multiple of the memory after the first requests."""


def main() -> int:
    """Run the fuzzer and print a summary; return 1 if an answer, the log or the memory is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, GatewayProcess(gateway.write(Path(folder))) as process:
        print(f"seed {arguments.seed}, {arguments.count} requests", flush=True)
        begin = time.monotonic()
        fuzzer = Fuzzer(gateway.address(process), arguments.seed)
        # Caches and pools grow during the first requests, so memory is compared from here on.
        fuzzer.run(min(20_000, arguments.count // 2))
        before = gateway.memory(process.pid)
        while fuzzer.sent < arguments.count and not fuzzer.violations:
            fuzzer.run(min(50_000, arguments.count - fuzzer.sent))
            now = gateway.memory(process.pid)
            print(f"{fuzzer.sent} requests sent, memory {now / 2**20:.1f} MiB", flush=True)
        after = gateway.memory(process.pid)
        fuzzer.close()
        connections = min(10_000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1_000)
        memory, last = hold_silent_connections(process, connections)
        print(
            f"{connections} silent connections: {memory / 2**20:.1f} MiB, the last closed after {last:.1f} s"
        )
        errors = gateway.log_errors(process.log)
        seconds = time.monotonic() - begin
        cpu = gateway.cpu_seconds(process.pid)
    print(f"answers: {dict(sorted(fuzzer.answers.items()))}")
    print(
        f"{seconds:.0f} s, {fuzzer.sent / seconds:.0f} requests per second, "
        f"{cpu / fuzzer.sent * 1e6:.0f} µs CPU per request"
    )
    print(f"memory {before / 2**20:.1f} -> {after / 2**20:.1f} MiB ({(after / before - 1) * 100:+.1f} %)")
    print(f"{len(fuzzer.violations)} wrong answers, {len(errors)} errors in the log")
    for line in (*fuzzer.violations, *errors[:20]):
        print(line)
    return 1 if fuzzer.violations or errors or after > before * MAX_GROWTH else 0


if __name__ == "__main__":
    raise SystemExit(main())
