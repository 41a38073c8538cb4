"""How long the csv plugin takes to read contacts, what it keeps others from, and what it weighs.

    python benchmarks/csv_source.py [--json] [ROWS]

Writes ROWS contacts (a million by default) to a temporary file, reads them with the plugin, replaces the
file while the plugin runs, and prints what it saw. A ticker on the event loop notes the longest time that
passed without the loop running; the line "idle" is the same ticker with nothing else to do, so that a busy
machine is not taken for a slow plugin. Needs Linux for the memory figures. ``--json`` prints figures alone.
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
from machine import Row, run

from gatepost.hookspecs import Context
from gatepost_csv import CsvSource, Settings

TICK = 0.001
LOOKUPS = 50_000


class Watch:
    """Ticks on the loop; knows the longest pause and the largest memory since it was last asked."""

    def __init__(self) -> None:
        self.pause = 0.0
        self.memory = 0.0

    async def tick(self) -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(TICK)
            now = time.perf_counter()
            self.pause = max(self.pause, now - last - TICK)
            last = now
            if now * 1000 % 10 < 1:
                self.memory = max(self.memory, resident())

    def take(self) -> tuple[float, float]:
        taken = self.pause * 1000, max(self.memory, resident())
        self.pause = self.memory = 0.0
        return taken


def resident() -> float:
    """Megabytes (of 1,000,000 bytes)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def write(path: Path, rows: int, country: str) -> None:
    """A new file, renamed into its place; every tenth row has quotes."""
    fresh = path.with_suffix(".new")
    with fresh.open("w", encoding="utf-8", newline="") as file:
        file.write("ext_user_id,email,phone,first_name,country,language\n")
        for number in range(rows):
            name = '"O""Neil, Ann"' if number % 10 == 0 else "Zoë"
            file.write(f"user{number:08},player.{number}@example.com,+4477{number:08},{name},{country},en\n")
    fresh.replace(path)


def rows() -> Iterator[Row]:
    """For the table of `make bench`."""
    figures = run("csv_source.py", "--json")
    starved = (
        f"idle {figures['pause idle']:.0f} ms; while a new file is taken over {figures['pause replace']:.0f}"
    )
    yield Row("a million contacts: load", figures["load"], "s", 10.0, at_least=False)
    yield Row(
        "a million contacts: longest pause", figures["pause load"], "ms", 100.0, at_least=False, note=starved
    )
    yield Row("a million contacts: at rest", figures["rest"], "MB more", 300.0, at_least=False)
    replaced = figures["peak replace"]
    yield Row("a million contacts: taking over a new file", replaced, "MB more", 600.0, at_least=False)
    yield Row("a million contacts: lookup", figures["lookup hit"], "µs of CPU", 5.0, at_least=False)


async def lookups(source: CsvSource, ids: list[str]) -> list[float]:
    """CPU time a lookup in µs (it waits for nothing); ids of all over the file, so that caches help little."""
    rounds = []
    for _ in range(5):
        began = time.thread_time()
        for ext_user_id in ids:
            source.find_contact(ext_user_id)
        rounds.append((time.thread_time() - began) / len(ids) * 1e6)
    return rounds


async def taken_over(source: CsvSource, country: str) -> float:
    """Waits until the new file answers; returns the seconds."""
    began = time.perf_counter()
    while True:
        contact = source.find_contact("user00000007")
        if contact is not None and contact.attributes["country"] == country:
            return time.perf_counter() - began
        await asyncio.sleep(0.02)


async def measure(path: Path, rows: int, say: Callable[[str], object]) -> dict[str, float]:
    write(path, rows, "GB")
    source = CsvSource(
        Settings(path=path, check_every=0.5), Context(name="players", log=structlog.get_logger())
    )
    size = (await asyncio.to_thread(path.stat)).st_size / 1e6
    watch = Watch()
    ticker = asyncio.create_task(watch.tick())
    await asyncio.sleep(3)
    idle, before = watch.take()
    say(f"idle          longest pause {idle:6.1f} ms   resident {before:6.1f} MB")

    began, cpu = time.perf_counter(), time.process_time()
    async with source.lifespan():
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        pause, peak = watch.take()
        figures = {"pause idle": idle, "load": seconds, "pause load": pause, "rest": resident() - before}
        say(
            f"load          longest pause {pause:6.1f} ms   peak {peak - before:+10.1f} MB   "
            f"{seconds:.2f} s, CPU {cpu:.2f} s, {size:.0f} MB file"
        )
        say(f"at rest                                 resident {resident() - before:+6.1f} MB")
        figures |= await replace(source, path, rows, watch, before, say)
        await asyncio.sleep(0.5)
        say(f"at rest                                 resident {resident() - before:+6.1f} MB")
        ticker.cancel()
        hits = [f"user{random.randrange(rows):08}" for _ in range(LOOKUPS)]
        misses = [f"nobody{number}" for number in range(LOOKUPS)]
        for kind, ids in (("hit", hits), ("miss", misses)):
            took = await lookups(source, ids)
            figures[f"lookup {kind}"] = middle = statistics.median(took)
            say(f"lookup {kind:<7}{middle:.2f} µs (best {min(took):.2f}, worst {max(took):.2f})")
    return figures


async def replace(
    source: CsvSource, path: Path, rows: int, watch: Watch, before: float, say: Callable[[str], object]
) -> dict[str, float]:
    """Put new files into the old one's place; returns the worst of it."""
    pauses, peaks = [], []
    for number, country in enumerate(("FR", "DE", "IT"), 1):
        await asyncio.to_thread(write, path, rows, country)
        watch.take()
        seconds = await taken_over(source, country)
        pause, peak = watch.take()
        say(
            f"take over {number}   longest pause {pause:6.1f} ms   peak {peak - before:+10.1f} MB   "
            f"{seconds:.2f} s, two looks included"
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
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        say = (lambda _line: None) if chosen.json else print
        figures = asyncio.run(measure(Path(folder, "contacts.csv"), chosen.rows, say))
    if chosen.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
