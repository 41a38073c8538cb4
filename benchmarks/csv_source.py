"""How long the csv plugin takes to read contacts, what it keeps others from, and what it weighs.

    python benchmarks/csv_source.py [ROWS]

Writes ROWS contacts (a million by default) to a temporary file, reads them with the plugin, replaces the
file while the plugin runs, and prints what it saw. A ticker on the event loop notes the longest time that
passed without the loop running; the line "idle" is the same ticker with nothing else to do, so that a busy
machine is not taken for a slow plugin. Needs Linux for the memory figures.
"""

import argparse
import asyncio
import os
import random
import statistics
import tempfile
import time
from pathlib import Path

import structlog

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


async def lookup_us(source: CsvSource, ids: list[str]) -> str:
    """CPU time a lookup (it waits for nothing); ids of all over the file, so that caches help little."""
    rounds = []
    for _ in range(5):
        began = time.thread_time()
        for ext_user_id in ids:
            await source.find_contact(ext_user_id)
        rounds.append((time.thread_time() - began) / len(ids) * 1e6)
    return f"{statistics.median(rounds):.2f} µs (best {min(rounds):.2f}, worst {max(rounds):.2f})"


async def taken_over(source: CsvSource, country: str) -> float:
    """Waits until the new file answers; returns the seconds."""
    began = time.perf_counter()
    while True:
        contact = await source.find_contact("user00000007")
        if contact is not None and contact.attributes["country"] == country:
            return time.perf_counter() - began
        await asyncio.sleep(0.02)


async def measure(path: Path, rows: int) -> None:
    write(path, rows, "GB")
    source = CsvSource(
        Settings(path=path, check_every=0.5), Context(name="players", log=structlog.get_logger())
    )
    size = (await asyncio.to_thread(path.stat)).st_size / 1e6
    watch = Watch()
    ticker = asyncio.create_task(watch.tick())
    await asyncio.sleep(3)
    pause, before = watch.take()
    print(f"idle          longest pause {pause:6.1f} ms   resident {before:6.1f} MB")

    began, cpu = time.perf_counter(), time.process_time()
    async with source.lifespan():
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        pause, peak = watch.take()
        print(f"load          longest pause {pause:6.1f} ms   peak {peak - before:+10.1f} MB", end="   ")
        print(f"{seconds:.2f} s, CPU {cpu:.2f} s, {size:.0f} MB file")
        print(f"at rest                                 resident {resident() - before:+6.1f} MB")
        for round_number, country in enumerate(("FR", "DE", "IT"), 1):
            await asyncio.to_thread(write, path, rows, country)
            watch.take()
            seconds = await taken_over(source, country)
            pause, peak = watch.take()
            print(
                f"take over {round_number}   longest pause {pause:6.1f} ms   peak {peak - before:+10.1f} MB",
                end="   ",
            )
            print(f"{seconds:.2f} s, two looks included")
        await asyncio.sleep(0.5)
        print(f"at rest                                 resident {resident() - before:+6.1f} MB")
        ticker.cancel()
        hits = [f"user{random.randrange(rows):08}" for _ in range(LOOKUPS)]
        misses = [f"nobody{number}" for number in range(LOOKUPS)]
        print(f"lookup hit    {await lookup_us(source, hits)}")
        print(f"lookup miss   {await lookup_us(source, misses)}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="?", type=int, default=1_000_000)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder, "contacts.csv"), parser.parse_args().rows))


if __name__ == "__main__":
    main()
