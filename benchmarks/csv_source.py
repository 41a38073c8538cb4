"""How long the csv plugin loads contacts, how long it blocks the event loop, and how much memory it needs.

    python benchmarks/csv_source.py [--json] [ROWS]

Writes ROWS contacts (a million by default) to a temporary file, loads them with the plugin, replaces the file
while the plugin runs, and prints the figures. A task on the event loop measures the longest time in which the loop
could not run it. The line "idle" is the same task with nothing else to do, which shows how busy the machine is.
Needs Linux for the memory figures. ``--json`` prints only the figures.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import structlog
from machine import Row, run_script

from gatepost.hookspecs import Context
from gatepost.model import Channel, Secret
from gatepost_csv import CsvSource, Settings

TICK = 0.001
"""Seconds between two runs of the measuring task."""

LOOKUPS = 50_000


class LoopMonitor:
    """A task that measures the longest pause of the event loop, and the peak of the memory."""

    def __init__(self) -> None:
        self.pause = 0.0
        self.memory = 0.0

    async def run(self) -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(TICK)
            now = time.perf_counter()
            self.pause = max(self.pause, now - last - TICK)
            last = now
            if now * 1000 % 10 < 1:
                self.memory = max(self.memory, resident())

    def take(self) -> tuple[float, float]:
        """Return the longest pause in ms and the peak in MB since the last call."""
        result = self.pause * 1000, max(self.memory, resident())
        self.pause = self.memory = 0.0
        return result


def resident() -> float:
    """Return the resident memory in megabytes of 1,000,000 bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def write(path: Path, rows: int, country: str) -> None:
    """Replace the file with a new one; every tenth row has quotes."""
    new = path.with_suffix(".new")
    with new.open("w", encoding="utf-8", newline="") as file:
        file.write("ext_user_id,email,phone,first_name,country,language\n")
        for number in range(rows):
            name = '"O""Neil, Ann"' if number % 10 == 0 else "Zoë"
            file.write(f"user{number:08},player.{number}@example.com,+4477{number:08},{name},{country},en\n")
    new.replace(path)


def rows() -> Iterator[Row]:
    """Measure the rows for the table of ``make bench``."""
    figures = run_script("csv_source.py", "--json")
    pauses = (
        f"idle {figures['pause idle']:.0f} ms; while a new file is taken over {figures['pause replace']:.0f}"
    )
    yield Row("a million contacts: load", figures["load"], "s", 10.0, at_least=False)
    yield Row(
        "a million contacts: longest pause", figures["pause load"], "ms", 100.0, at_least=False, note=pauses
    )
    yield Row("a million contacts: at rest", figures["rest"], "MB more", 300.0, at_least=False)
    replaced = figures["peak replace"]
    yield Row("a million contacts: taking over a new file", replaced, "MB more", 600.0, at_least=False)
    note = f"16 at once {figures['search 16']:.2f} s; longest pause {figures['pause search 16']:.0f} ms"
    yield Row(
        "a million contacts: user of a number", figures["search 1"], "s", 1.0, at_least=False, note=note
    )
    yield Row("a million contacts: lookup", figures["lookup hit"], "µs of CPU", 5.0, at_least=False)


async def measure_lookups(source: CsvSource, ids: list[str]) -> list[float]:
    """Return the CPU per lookup in µs, one figure for each of five rounds."""
    rounds = []
    for _ in range(5):
        began = time.thread_time()
        for ext_user_id in ids:
            source.find_contact(ext_user_id)
        rounds.append((time.thread_time() - began) / len(ids) * 1e6)
    return rounds


async def wait_for_new_file(source: CsvSource, country: str) -> float:
    """Wait until lookups return contacts of the new file, and return the seconds."""
    began = time.perf_counter()
    while True:
        contact = source.find_contact("user00000007")
        if contact is not None and contact.attributes["country"] == country:
            return time.perf_counter() - began
        await asyncio.sleep(0.02)


async def measure(path: Path, rows: int, print_line: Callable[[str], object]) -> dict[str, float]:
    """Return all figures, and print each of them in a line."""
    write(path, rows, "GB")
    source = CsvSource(
        Settings(path=path, check_every=0.5), Context(name="players", log=structlog.get_logger())
    )
    size = (await asyncio.to_thread(path.stat)).st_size / 1e6
    monitor = LoopMonitor()
    monitoring = asyncio.create_task(monitor.run())
    await asyncio.sleep(3)
    idle, before = monitor.take()
    print_line(f"idle          longest pause {idle:6.1f} ms   resident {before:6.1f} MB")

    began, cpu = time.perf_counter(), time.process_time()
    async with source.lifespan():
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        pause, peak = monitor.take()
        figures = {"pause idle": idle, "load": seconds, "pause load": pause, "rest": resident() - before}
        print_line(
            f"load          longest pause {pause:6.1f} ms   peak {peak - before:+10.1f} MB   "
            f"{seconds:.2f} s, CPU {cpu:.2f} s, {size:.0f} MB file"
        )
        print_line(f"at rest                                 resident {resident() - before:+6.1f} MB")
        figures |= await replace(source, path, rows, monitor, before, print_line)
        await asyncio.sleep(0.5)
        print_line(f"at rest                                 resident {resident() - before:+6.1f} MB")
        figures |= await measure_searches(source, rows, monitor, before, print_line)
        monitoring.cancel()
        # The ids are drawn from the whole file, so that the CPU's caches help little.
        hits = [f"user{random.randrange(rows):08}" for _ in range(LOOKUPS)]
        misses = [f"nobody{number}" for number in range(LOOKUPS)]
        for kind, ids in (("hit", hits), ("miss", misses)):
            times = await measure_lookups(source, ids)
            figures[f"lookup {kind}"] = median = statistics.median(times)
            print_line(f"lookup {kind:<7}{median:.2f} µs (best {min(times):.2f}, worst {max(times):.2f})")
    return figures


async def measure_searches(
    source: CsvSource,
    rows: int,
    monitor: LoopMonitor,
    before: float,
    print_line: Callable[[str], object],
) -> dict[str, float]:
    """Search users by one number, and by 16 at once; return the seconds of each, and the longest pause."""
    figures: dict[str, float] = {}
    await source.find_user(Channel.SMS, Secret("+447700000000"))
    for count in (1, 16):
        numbers = [Secret(f"+4477{random.randrange(rows):08}") for _ in range(count)]
        monitor.take()
        began, cpu = time.perf_counter(), time.process_time()
        found = await asyncio.gather(*(source.find_user(Channel.SMS, one) for one in numbers))
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        if not all(len(users) == 1 for users in found):
            raise SystemExit("a user was not found by the number")
        pause, peak = monitor.take()
        print_line(
            f"search {count:<7}longest pause {pause:6.1f} ms   peak {peak - before:+10.1f} MB   "
            f"{seconds:.2f} s, CPU {cpu:.2f} s"
        )
        figures |= {f"search {count}": seconds, f"pause search {count}": pause}
    return figures


async def replace(
    source: CsvSource,
    path: Path,
    rows: int,
    monitor: LoopMonitor,
    before: float,
    print_line: Callable[[str], object],
) -> dict[str, float]:
    """Replace the file three times, and return the longest pause and the highest peak of memory."""
    pauses, peaks = [], []
    for number, country in enumerate(("FR", "DE", "IT"), 1):
        await asyncio.to_thread(write, path, rows, country)
        monitor.take()
        seconds = await wait_for_new_file(source, country)
        pause, peak = monitor.take()
        print_line(
            f"take over {number}   longest pause {pause:6.1f} ms   peak {peak - before:+10.1f} MB   "
            f"{seconds:.2f} s, including two checks of the file"
        )
        pauses.append(pause)
        peaks.append(peak - before)
    return {"pause replace": max(pauses), "peak replace": max(peaks)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("rows", nargs="?", type=int, default=1_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print_line = (lambda _line: None) if arguments.json else print
        figures = asyncio.run(measure(Path(folder, "contacts.csv"), arguments.rows, print_line))
    if arguments.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
