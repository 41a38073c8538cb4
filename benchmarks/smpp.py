"""Text messages a second through one SMPP bind on one core, each with its receipt.

    python benchmarks/smpp.py [--count 20000] [--window 50] [--loop asyncio|uvloop] [--profile]

This process, which is kept on one core, runs the plugin alone: without the store. The message centre is npm's package
smpp on node (`make programs`), on the other cores. The rate counts messages whose answer came, while their receipts are
read, passed on and acknowledged too. The last line is the CPU of one message with its receipt.
"""

import argparse
import asyncio
import cProfile
import json
import os
import pstats
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gatepost.model import Report, Secret, Sms
from gatepost.testing.fakes import FakeCore
from gatepost_smpp import Settings, Smpp

CENTRE = Path(__file__).parents[1] / "plugins/smpp/tests/message_centre.js"
SYSTEM_ID, PASSWORD = "bench", "bench"
GOAL = 1000.0
"""Messages a second."""


@contextmanager
def message_centre(window: int) -> Iterator[int]:
    """Run the message centre; yield its port."""
    root = subprocess.run(
        ["npm", "root", "--global"], capture_output=True, text=True, check=True
    ).stdout.strip()
    options = {
        "system_id": SYSTEM_ID,
        "password": PASSWORD,
        "window": window,
        "storm": {"cut": 0, "latest": 500},
    }
    process = subprocess.Popen(
        ["node", str(CENTRE), json.dumps(options)],
        env={**os.environ, "NODE_PATH": root},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    try:
        yield json.loads(process.stdout.readline())["port"]
    finally:
        process.stdin.close()
        process.wait()


async def measure(port: int, count: int, window: int) -> tuple[float, float, int]:
    """Send so many messages; return the seconds, the CPU seconds of this process, and the receipts."""
    receipts = 0

    async def report(report: Report) -> int:
        nonlocal receipts
        receipts += len(report.events)
        return 0

    settings = Settings(
        host="127.0.0.1",
        port=port,
        tls=False,
        system_id=SYSTEM_ID,
        password=Secret(PASSWORD),
        window=window,
        receipt_ids="decimal",
    )
    plugin = Smpp(settings, FakeCore().context(report=report))
    numbers = iter(range(count))

    async def send() -> None:
        for number in numbers:
            message = Sms(
                id=f"{number:08x}-0000-4000-8000-000000000000",
                recipient=Secret(f"+44770{number:07}"),
                sender="Amazing",
                text="Your weekly bonus is here: 20 free spins until midnight",
                lifetime=3600.0,
            )
            await plugin.send_sms(message)

    async with plugin.lifespan():
        await plugin.ping()
        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(send() for _ in range(window)))
        seconds = time.perf_counter() - began
        # Some are delivered twice.
        while receipts < count:  # noqa: ASYNC110  the rest of them, outside of the measured time
            await asyncio.sleep(0.05)
        return seconds, time.process_time() - cpu, receipts


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--window", type=int, default=50)
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="uvloop")
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    loop_factory = None
    if arguments.loop == "uvloop":
        import uvloop  # noqa: PLC0415  not on every system

        loop_factory = uvloop.new_event_loop
    with message_centre(arguments.window) as port:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        profile = cProfile.Profile() if arguments.profile else None
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            if profile:
                profile.enable()
            seconds, cpu, receipts = runner.run(measure(port, arguments.count, arguments.window))
            if profile:
                profile.disable()
                pstats.Stats(profile).sort_stats("tottime").print_stats(25)
    rate = arguments.count / seconds
    print(f"{rate:.0f} messages a second (goal: {GOAL:.0f}), {receipts} receipts")
    print(
        f"{cpu / arguments.count * 1e6:.0f} µs of CPU each, which is {arguments.count / cpu:.0f} a second on one core"
    )


if __name__ == "__main__":
    main()
