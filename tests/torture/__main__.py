"""``make torture``: break everything, count, and hold the counts against the goals.

Every number that is drawn comes from SEED; what the machine's own throttle adds to it does not, which is why the
simulation and the power cuts replay exactly and the processes do so nearly.
"""

import argparse
import asyncio
import logging
import multiprocessing
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import uvloop

from torture import goals, growth, model, outage, postgres, powerloss, scenarios
from torture.clocks import ProcessClock, StoreClock
from torture.replica import ForkServer
from torture.stores import Postgresql, Sqlite

Figures = Mapping[str, object]


class Run:
    """What every scenario is given."""

    def __init__(
        self, folder: Path, seed: int, scale: float, server: postgres.Server, fork_server: ForkServer
    ) -> None:
        self.folder = folder
        self.seed = seed
        self.scale = scale
        self.server = server
        self.fork_server = fork_server

    def some(self, count: int) -> int:
        """So many, or fewer where a shorter run is wanted."""
        return max(1, round(count * self.scale))

    def place(self, name: str) -> Path:
        """An empty folder."""
        made = self.folder / name
        made.mkdir(parents=True)
        return made

    def sqlite(self, name: str) -> tuple[Path, Sqlite]:
        """An empty folder, and the file that will be in it."""
        folder = self.place(name)
        return folder, Sqlite(folder)

    def postgresql(self, name: str) -> tuple[Path, Postgresql]:
        """An empty folder, and an empty database."""
        return self.place(name), Postgresql(self.server)

    def kill(self, name: str, *, several: bool, reports: bool, kills: int) -> Figures:
        """Kills on one of the stores; fifty messages to each."""
        folder, store = self.postgresql(name) if several else self.sqlite(name)
        kills = self.some(kills)
        return asyncio.run(
            scenarios.kill(
                self.fork_server,
                folder,
                store,
                self.seed,
                messages=50 * kills,
                kills=kills,
                replicas=2 if several else 1,
                reports=reports,
            )
        )

    def powerloss(self, name: str) -> Figures:
        """Power cuts; the loss that NORMAL must show is a violation where it does not."""
        both = powerloss.run(self.place(name), self.seed, messages=60, states=self.some(10_000))
        counted = {name: value for name, value in both["FULL"].items() if name != "lost"}
        return {
            **counted,
            "lost with FULL": both["FULL"]["lost"],
            "lost with NORMAL": both["NORMAL"]["lost"],
        }

    def clock(self, name: str) -> Figures:
        """The store's clock, which is handed in."""
        folder = self.place(name)
        clock = StoreClock(folder)
        return asyncio.run(
            scenarios.clock(self.fork_server, folder, self.seed, jumps=self.some(40), clock=clock)
        )

    def clock_process(self, name: str) -> Figures:
        """The clock of the whole process, where that can be had."""
        folder = self.place(name)
        try:
            clock = ProcessClock(folder)
        except RuntimeError as error:
            return {"skipped": error}
        with ForkServer(clock.environment) as fork_server:
            return asyncio.run(
                scenarios.clock(fork_server, folder, self.seed, jumps=self.some(40), clock=clock)
            )

    def simulation(self, name: str) -> Figures:
        """Random schedules of the decisions, on every core."""
        began = time.monotonic()
        count = self.some(1_000_000)
        share = 2_000
        with multiprocessing.get_context("spawn").Pool() as pool:
            parts = [
                (self.seed * 10_000_000 + first, min(share, count - first))
                for first in range(0, count, share)
            ]
            found = [problem for part in pool.imap_unordered(model.run_range, parts) for problem in part]
        return {
            "schedules": count,
            "violations": len(found),
            **({"the first": found[:3]} if found else {}),
            "seconds": round(time.monotonic() - began),
        }


def _as_served(measuring: Coroutine[Any, Any, Figures]) -> Figures:
    """Times are taken on the loop that a gateway runs on."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measuring)


SCENARIOS: Mapping[str, Callable[[Run, str], Figures]] = {
    "simulation": Run.simulation,
    "powerloss": Run.powerloss,
    "kill-sqlite": lambda run, name: run.kill(name, several=False, reports=True, kills=200),
    "kill-postgresql": lambda run, name: run.kill(name, several=True, reports=True, kills=200),
    "kill-unreported": lambda run, name: run.kill(name, several=False, reports=False, kills=50),
    "poison-sqlite": lambda run, name: asyncio.run(
        scenarios.poison(run.fork_server, *run.sqlite(name), run.seed, poisons=run.some(20))
    ),
    "poison-postgresql": lambda run, name: asyncio.run(
        scenarios.poison(run.fork_server, *run.postgresql(name), run.seed, poisons=run.some(20))
    ),
    "zombie": lambda run, name: asyncio.run(
        scenarios.zombie(run.fork_server, *run.postgresql(name), run.seed, zombies=run.some(100))
    ),
    "orphan": lambda run, name: asyncio.run(
        scenarios.orphan(run.fork_server, *run.postgresql(name), run.seed, orphans=run.some(10))
    ),
    "database": lambda run, name: asyncio.run(
        scenarios.database(
            run.fork_server,
            *run.postgresql(name),
            run.seed,
            restarts=run.some(100),
            terminations=run.some(100),
        )
    ),
    "full-disk": lambda run, name: asyncio.run(
        scenarios.full_disk(run.fork_server, run.place(name), run.seed, messages=max(200, run.some(600)))
    ),
    "provider": lambda run, name: asyncio.run(
        scenarios.provider(run.fork_server, *run.sqlite(name), run.seed, messages=run.some(500))
    ),
    "provider-hold": lambda run, name: asyncio.run(
        scenarios.provider(run.fork_server, *run.sqlite(name), run.seed, messages=run.some(200), hold=True)
    ),
    "outage": lambda run, name: outage.run(run.place(name), seconds=max(300, run.some(3_600))),
    "clock": Run.clock,
    "clock-process": Run.clock_process,
    "growth-sqlite": lambda run, name: _as_served(
        growth.rows(
            [("sqlite:///outbox.db", run.place(f"{name}-{size}")) for size in ("few", "many")],
            (10_000, run.some(1_000_000)),
        )
    ),
    "growth-postgresql": lambda run, name: _as_served(
        growth.rows(
            [(run.server.new_database(), run.place(f"{name}-{size}")) for size in ("few", "many")],
            (10_000, run.some(1_000_000)),
            run.server,
        )
    ),
    "growth-pinned": lambda run, name: _as_served(
        growth.pinned(run.server, run.place(name), run.some(100_000))
    ),
    "drain": lambda run, name: asyncio.run(
        scenarios.drain(run.fork_server, *run.sqlite(name), run.seed, drains=run.some(100))
    ),
}


def main() -> int:
    """Run the scenarios; the exit code says whether every promise was kept."""
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="0.1: a tenth of everything")
    parser.add_argument("--keep", type=Path, help="a folder for the stores and logs, which stay there")
    parser.add_argument(
        "scenario", nargs="*", choices=[[], *SCENARIOS], help="all of them where none is named"
    )
    wanted = parser.parse_args()
    # The stand-ins are hung up on all the time.
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    every: list[goals.Line] = []
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="gatepost-torture-") as temporary,
        postgres.running() as server,
        ForkServer() as fork_server,
    ):
        run = Run(wanted.keep or Path(temporary), wanted.seed, wanted.scale, server, fork_server)
        for name in wanted.scenario or SCENARIOS:
            figures = _figures(run, name)
            every += goals.lines(name, figures)
            _show(name, figures)
    missed = sum(line.reached is False for line in every)
    verdict = "every goal reached" if not missed else f"{missed} MISSED"
    took = round(time.monotonic() - began)
    sys.stdout.write(f"\n{goals.table(every)}\n\nseed {wanted.seed}: {verdict}, in {took} s\n")
    return 1 if missed else 0


def _figures(run: Run, name: str) -> Figures:
    """One that breaks in another way has reached nothing, and the others are tried all the same."""
    try:
        return SCENARIOS[name](run, name)
    except Exception as error:  # noqa: BLE001  as above
        traceback.print_exc()
        return {"broke off": repr(error)}


def _show(name: str, figures: Figures) -> None:
    sys.stdout.write(f"{name}\n")
    for key, value in figures.items():
        sys.stdout.write(f"    {key:44} {value}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
