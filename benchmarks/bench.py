"""``make bench``: measure what the gateway costs, each figure relative to a yardstick in the same run.

The runs are interleaved, and each figure is the median of the ratios of neighbours. A ratio does not depend on
the speed of the machine, but on other load: run it on an idle machine. ``docs/explanation/performance.md``
describes the rows. The exit code is 0 if every figure was measured, and 1 if not, whether goals were met or not.
"""

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import accept
import console_pages
import csv_source
import drain
import encryption
import growth
import load
import lookups
import memory
import merged_mails
import processes
import programs
import quiet
import sql_source
import start
import webhook_2000
import whole_way
import without_a_stop
from machine import Row, describe_machine
from peers import compare
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results.json"

MAX_SLOW_ROUNDS = 3
"""The most rounds of groups that take long."""

BY_NAME = frozenset({"console", "reloads", "handover"})
"""Groups that take so long that they are measured only where they are named."""


class Effort(NamedTuple):
    """How much is measured."""

    rounds: int
    seconds: float
    """Seconds of each run under load."""
    largest: int
    """Rows in the largest store."""
    quick: bool
    """Whether only a fifth of the messages is sent."""

    @property
    def few(self) -> int:
        """The rounds of groups that take long."""
        return min(self.rounds, MAX_SLOW_ROUNDS)

    def messages(self, count: int) -> int:
        """Return how many messages to send where a whole run sends ``count``."""
        return count // 5 if self.quick else count


def _groups(effort: Effort) -> Mapping[str, Callable[[], Iterator[Row]]]:
    rounds, few, seconds = effort.rounds, effort.few, effort.seconds
    thousands = {number: effort.messages(number * 1000) for number in (4, 5, 10)}
    return {
        "accept": lambda: accept.rows(rounds, seconds),
        "accept-slow-disk": lambda: accept.slow_disk(few, seconds),
        "drain-http": lambda: drain.rows(drain.HTTP_PROVIDER, rounds, thousands[10]),
        "drain-callbacks": lambda: drain.with_callbacks(few, thousands[5]),
        "drain-smtp": lambda: drain.rows(drain.SMTP_PROVIDER, few, thousands[5]),
        "drain-smtp-limit": lambda: drain.limited(few, thousands[5]),
        "accept-many": lambda: accept.many(few, seconds),
        "drain-many": lambda: drain.many(few, thousands[5]),
        "whole-way": lambda: whole_way.rows(few, thousands[4], effort.messages(600)),
        "webhook": webhook_2000.rows,
        "sms": lambda: compare.sms(few, thousands[10]),
        "peers": lambda: compare.email(few, thousands[4]),
        "growth": lambda: growth.rows(effort.largest),
        "memory": lambda: memory.rows(effort.messages(effort.largest)),
        "contacts": csv_source.rows,
        "lookups": lookups.rows,
        "sql": sql_source.rows,
        "encryption": encryption.rows,
        "merge-fields": merged_mails.rows,
        "start": lambda: start.rows(2 * rounds),
        "console": console_pages.rows,
        "reloads": without_a_stop.reloads,
        "handover": without_a_stop.handovers,
        "accept-postgres": lambda: accept.on_postgres(few, seconds),
        "drain-postgres": lambda: drain.on_postgres(few, thousands[5]),
        "processes": lambda: processes.rows(few, thousands[4]),
    }


def main() -> int:
    """Measure the chosen groups, print the table and write it to results.json."""
    arguments = _arguments()
    if arguments.markdown:
        print(_markdown(json.loads(RESULTS.read_text())))
        return 0
    groups = _groups(_effort(arguments))
    if unknown := set(arguments.groups) - set(groups):
        print(
            f"unknown groups: {', '.join(sorted(unknown))}; the groups are {', '.join(groups)}",
            file=sys.stderr,
        )
        return 2
    programs.install()
    machine = {**describe_machine(), "load by": load.load_name()}
    if arguments.quick:
        machine["extent"] = "a quick run, whose figures are coarse"
    chosen = arguments.groups or [name for name in groups if name not in BY_NAME]
    began = time.monotonic()
    rows = [row for name in chosen for row in _measure(name, groups[name])]
    machine["took"] = f"{(time.monotonic() - began) / 60:.0f} minutes"
    results = {"machine": machine, "rows": [{**row._asdict(), "met": row.met} for row in rows]}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    _print_table(results)
    return int(any(row.figure is None for row in rows))


def _effort(arguments: argparse.Namespace) -> Effort:
    largest = 1_000_000 if arguments.million else 100_000
    if arguments.quick:
        return Effort(1, 1.0, largest, quick=True)
    return Effort(arguments.rounds, arguments.seconds, largest, quick=False)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("groups", nargs="*", help="the groups of rows to measure (default: all but console)")
    parser.add_argument(
        "--rounds", type=int, default=5, help="rounds of each group; slow groups have at most 3"
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds of each run under load")
    parser.add_argument("--quick", action="store_true", help="one short round of each, to see that all works")
    parser.add_argument("--million", action="store_true", help="use a million rows instead of 100,000")
    parser.add_argument(
        "--markdown", action="store_true", help="measure nothing; print the last results as Markdown"
    )
    return parser.parse_args()


def _measure(name: str, rows: Callable[[], Iterator[Row]]) -> list[Row]:
    """Measure one group; after an exception return a row that says so, so that other groups are measured.

    If other work used the machine right before or after, the rows give no verdict.
    """
    print(f"{name} …", file=sys.stderr, flush=True)
    began = time.monotonic()
    measured: list[Row] = []
    foreign = quiet.foreign_share()
    try:
        measured.extend(rows())
    except Exception as error:  # noqa: BLE001  any exception is printed and becomes a row without a figure
        traceback.print_exc()
        measured.append(Row(name, None, "", note=f"could not be measured: {error}".splitlines()[0]))
    foreign = max(foreign, quiet.foreign_share())
    print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    if foreign > quiet.LIMIT:
        print(f"{name}: other work used {foreign:.0%} of a core, so there is no verdict", file=sys.stderr)
    return [row._replace(busy=foreign > quiet.LIMIT) for row in measured]


def _cells(row: Mapping[str, object]) -> tuple[str, str, str, str, str]:
    figure = "" if row["figure"] is None else f"{_round(float(str(row['figure'])))} {row['unit']}"
    goal = (
        "" if row["goal"] is None else f"{'≥' if row['at_least'] else '≤'} {_round(float(str(row['goal'])))}"
    )
    met = {True: "yes", False: "NO", None: "busy" if row["busy"] and goal else ""}[row["met"]]
    return str(row["name"]), figure, goal, met, str(row["note"])


def _round(figure: float) -> str:
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"


def _title(machine: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in machine.items())


def _print_table(results: Mapping[str, list[Mapping[str, object]]]) -> None:
    table = Table("what", "figure", "goal", "met", "", title=_title(results["machine"]))
    for row in results["rows"]:
        table.add_row(*_cells(row))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _markdown(results: Mapping[str, list[Mapping[str, object]]]) -> str:
    rows = [("what", "figure", "goal", "met", "more"), ("---",) * 5, *map(_cells, results["rows"])]
    return "\n".join([f"{_title(results['machine'])}:", "", *(f"| {' | '.join(row)} |" for row in rows)])


if __name__ == "__main__":
    sys.exit(main())
