"""``make torture``: run the scenarios and compare what they count with the goals.

Every random number comes from SEED, but the speed of the machine does not. So the simulation and the power cuts
replay exactly, and the scenarios with processes replay nearly.
"""

import argparse
import asyncio
import logging
import multiprocessing
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from torture import fairness, goals, growth, model, outage, postgres, powerloss, shared_rate
from torture.clocks import ProcessClock, StoreClock
from torture.oracle import Figures
from torture.replica import ForkServer
from torture.scenarios import bounces, dependencies, kills, replays, replicas, upgrades
from torture.stores import Postgresql, Sqlite

SEEDS_PER_TASK = 2_000
"""Schedules of the simulation that a process runs at a time."""


class Run:
    """One run of ``make torture``, with what the scenarios need."""

    def __init__(
        self, folder: Path, seed: int, scale: float, server: postgres.Server, fork_server: ForkServer
    ) -> None:
        self.folder = folder
        self.seed = seed
        self.scale = scale
        self.server = server
        self.fork_server = fork_server

    def scaled(self, count: int) -> int:
        """Return the count of a full run, multiplied with the scale of this run."""
        return max(1, round(count * self.scale))

    def new_folder(self, name: str) -> Path:
        """Create an empty folder."""
        folder = self.folder / name
        folder.mkdir(parents=True)
        return folder

    def sqlite(self, name: str) -> tuple[Path, Sqlite]:
        """Create an empty folder, and a store on a file in it."""
        folder = self.new_folder(name)
        return folder, Sqlite(folder)

    def postgresql(self, name: str) -> tuple[Path, Postgresql]:
        """Create an empty folder, and a store on an empty database."""
        return self.new_folder(name), Postgresql(self.server)

    def kill(
        self,
        name: str,
        scenario: Callable[..., Awaitable[Figures]],
        *,
        postgresql: bool,
        count: int,
        messages: int,
    ) -> Figures:
        """Run a scenario with ``count`` kills and ``messages`` per kill, on PostgreSQL with two replicas."""
        folder, store = self.postgresql(name) if postgresql else self.sqlite(name)
        count = self.scaled(count)
        return asyncio.run(
            scenario(
                self.fork_server,
                folder,
                store,
                self.seed,
                messages=messages * count,
                kills=count,
                replicas=2 if postgresql else 1,
            )
        )

    def powerloss(self, name: str) -> Figures:
        """Run the power cuts; NORMAL must lose commits, which shows that a loss is found."""
        figures = powerloss.run(self.new_folder(name), self.seed, messages=60, states=self.scaled(10_000))
        return {
            **{key: value for key, value in figures["FULL"].items() if key != "lost"},
            "lost with FULL": figures["FULL"]["lost"],
            "lost with NORMAL": figures["NORMAL"]["lost"],
        }

    def clock(self, name: str) -> Figures:
        """Run ``dependencies.clock`` with the clock of the store."""
        folder = self.new_folder(name)
        clock = StoreClock(folder)
        return asyncio.run(
            dependencies.clock(self.fork_server, folder, self.seed, jumps=self.scaled(40), clock=clock)
        )

    def clock_process(self, name: str) -> Figures:
        """Run ``dependencies.clock`` with the clock of the whole process."""
        folder = self.new_folder(name)
        try:
            clock = ProcessClock(folder)
        except RuntimeError as error:
            return {"skipped": error}
        with ForkServer(clock.environment) as fork_server:
            return asyncio.run(
                dependencies.clock(fork_server, folder, self.seed, jumps=self.scaled(40), clock=clock)
            )

    def simulation(self, name: str) -> Figures:
        """Run random schedules of the simulation on all cores."""
        count = self.scaled(1_000_000)
        with multiprocessing.get_context("spawn").Pool() as pool:
            ranges = [
                (self.seed * 10_000_000 + first, min(SEEDS_PER_TASK, count - first))
                for first in range(0, count, SEEDS_PER_TASK)
            ]
            results = pool.imap_unordered(model.find_violations, ranges)
            violations = [violation for result in results for violation in result]
        return {
            "schedules": count,
            "violations": len(violations),
            **({"first violations": violations[:3]} if violations else {}),
        }


def _run_on_uvloop(measurement: Coroutine[Any, Any, Figures]) -> Figures:
    """Measure on the event loop that a gateway uses."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measurement)


SCENARIOS: Mapping[str, Callable[[Run, str], Figures]] = {
    "simulation": Run.simulation,
    "powerloss": Run.powerloss,
    "kill-sqlite": lambda run, name: run.kill(name, kills.kill, postgresql=False, count=200, messages=50),
    "kill-postgresql": lambda run, name: run.kill(name, kills.kill, postgresql=True, count=200, messages=50),
    "kill-unreported": lambda run, name: run.kill(
        name, partial(kills.kill, reports=False), postgresql=False, count=50, messages=50
    ),
    "kill-replays-sqlite": lambda run, name: run.kill(
        name, replays.kill, postgresql=False, count=60, messages=40
    ),
    "kill-replays-postgresql": lambda run, name: run.kill(
        name, replays.kill, postgresql=True, count=60, messages=40
    ),
    "bounces-sqlite": lambda run, name: run.kill(name, bounces.kill, postgresql=False, count=60, messages=60),
    "bounces-postgresql": lambda run, name: run.kill(
        name, bounces.kill, postgresql=True, count=60, messages=60
    ),
    "poison-sqlite": lambda run, name: asyncio.run(
        kills.poison(run.fork_server, *run.sqlite(name), run.seed, poison_messages=run.scaled(20))
    ),
    "poison-postgresql": lambda run, name: asyncio.run(
        kills.poison(run.fork_server, *run.postgresql(name), run.seed, poison_messages=run.scaled(20))
    ),
    "zombie": lambda run, name: asyncio.run(
        replicas.zombie(run.fork_server, *run.postgresql(name), run.seed, zombies=run.scaled(100))
    ),
    "orphan": lambda run, name: asyncio.run(
        replicas.orphan(run.fork_server, *run.postgresql(name), run.seed, orphans=run.scaled(10))
    ),
    "rolling-upgrade": lambda run, name: asyncio.run(
        upgrades.rolling(run.fork_server, *run.postgresql(name), run.seed, rounds=run.scaled(25))
    ),
    "database": lambda run, name: asyncio.run(
        dependencies.database(
            run.fork_server,
            *run.postgresql(name),
            run.seed,
            restarts=run.scaled(100),
            terminations=run.scaled(100),
        )
    ),
    "full-disk": lambda run, name: asyncio.run(
        # With fewer, all of them may be in the store before enough were refused.
        dependencies.full_disk(
            run.fork_server, run.new_folder(name), run.seed, messages=max(600, run.scaled(600))
        )
    ),
    "provider": lambda run, name: asyncio.run(
        dependencies.provider(run.fork_server, *run.sqlite(name), run.seed, messages=run.scaled(500))
    ),
    "provider-hold": lambda run, name: asyncio.run(
        dependencies.provider(
            run.fork_server, *run.sqlite(name), run.seed, messages=run.scaled(200), hold=True
        )
    ),
    "outage": lambda run, name: outage.run(run.new_folder(name), seconds=max(300, run.scaled(3_600))),
    "fairness": lambda run, name: fairness.run(run.new_folder(name), run.scaled(100_000)),
    "shared-rate": lambda run, name: _run_on_uvloop(
        shared_rate.measure(
            run.server.new_database(), run.new_folder(name), per_second=100.0, seconds=max(4, run.scaled(60))
        )
    ),
    "shared-rate-low": lambda run, name: _run_on_uvloop(
        shared_rate.measure(
            run.server.new_database(), run.new_folder(name), per_second=20.0, seconds=max(4, run.scaled(60))
        )
    ),
    "shared-rate-slow-lookups": lambda run, name: _run_on_uvloop(
        shared_rate.measure(
            run.server.new_database(),
            run.new_folder(name),
            per_second=50.0,
            seconds=max(4, run.scaled(60)),
            source=shared_rate.SlowUsers(0.1, 0.6),
        )
    ),
    "clock": Run.clock,
    "clock-process": Run.clock_process,
    "growth-sqlite": lambda run, name: _run_on_uvloop(
        growth.claims_by_rows(
            [("sqlite:///outbox.db", run.new_folder(f"{name}-{size}")) for size in ("few", "many")],
            (10_000, run.scaled(1_000_000)),
        )
    ),
    "growth-postgresql": lambda run, name: _run_on_uvloop(
        growth.claims_by_rows(
            [(run.server.new_database(), run.new_folder(f"{name}-{size}")) for size in ("few", "many")],
            (10_000, run.scaled(1_000_000)),
            run.server,
        )
    ),
    "growth-pinned": lambda run, name: _run_on_uvloop(
        growth.claims_with_old_transaction(run.server, run.new_folder(name), run.scaled(100_000))
    ),
    "drain": lambda run, name: asyncio.run(
        kills.drain(run.fork_server, *run.sqlite(name), run.seed, drains=run.scaled(100))
    ),
}


def main() -> int:
    """Run the scenarios and print the results; return 1 if a goal was missed."""
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="the size of the run; 0.1 is a tenth")
    parser.add_argument("--keep", type=Path, help="folder for the stores and logs, which are kept")
    parser.add_argument(
        "scenario", nargs="*", choices=[[], *SCENARIOS], help="the scenarios to run (default: all)"
    )
    arguments = parser.parse_args()
    # Killed gateways break the connections of the emulators all the time, and each would be logged.
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    lines: list[goals.Line] = []
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="gatepost-torture-") as temporary,
        postgres.start_server() as server,
        ForkServer() as fork_server,
    ):
        run = Run(arguments.keep or Path(temporary), arguments.seed, arguments.scale, server, fork_server)
        for name in arguments.scenario or SCENARIOS:
            figures = _measure(run, name)
            lines += goals.lines(name, figures)
            _print_figures(name, figures)
    missed = sum(line.reached is False for line in lines)
    verdict = f"{missed} goals MISSED" if missed else "all goals reached"
    seconds = round(time.monotonic() - began)
    sys.stdout.write(f"\n{goals.table(lines)}\n\nseed {arguments.seed}: {verdict}, in {seconds} s\n")
    return 1 if missed else 0


def _measure(run: Run, name: str) -> Figures:
    """Run one scenario; after an exception return no figures, so that its goals are missed and others run."""
    began = time.monotonic()
    try:
        figures = SCENARIOS[name](run, name)
    except Exception as error:  # noqa: BLE001  any exception counts as missed goals
        traceback.print_exc()
        return {"error": repr(error)}
    return {**figures, "seconds": round(time.monotonic() - began)}


def _print_figures(name: str, figures: Figures) -> None:
    sys.stdout.write(f"{name}\n")
    for key, value in figures.items():
        sys.stdout.write(f"    {key:44} {value}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
