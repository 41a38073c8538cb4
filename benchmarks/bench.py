"""``make bench``: measure what the gateway costs, each figure relative to a yardstick in the same run.

The runs are interleaved, and each figure is the median of the ratios of neighbours. A ratio does not depend on
the speed of the machine, but on other load: run it on an idle machine. ``docs/explanation/performance.md``
describes the rows. The exit code is 0 if every figure was measured, and 1 if not, whether goals were met or not.
"""

import argparse
import json
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

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


def _groups(rounds: int, seconds: float, largest: int) -> Mapping[str, Callable[[], Iterator[Row]]]:
    few = min(rounds, MAX_SLOW_ROUNDS)
    return {
        "accept": lambda: accept.rows(rounds, seconds),
        "accept-slow-disk": lambda: accept.slow_disk(few, seconds),
        "drain-http": lambda: drain.rows(drain.HTTP_PROVIDER, rounds, 10_000),
        "drain-callbacks": lambda: drain.with_callbacks(few, 5_000),
        "drain-smtp": lambda: drain.rows(drain.SMTP_PROVIDER, few, 5_000),
        "drain-smtp-limit": lambda: drain.limited(few, 5_000),
        "accept-many": lambda: accept.many(few, seconds),
        "drain-many": lambda: drain.many(few, 5_000),
        "whole-way": lambda: whole_way.rows(few, 4_000, 600),
        "webhook": webhook_2000.rows,
        "sms": lambda: compare.sms(few, 10_000),
        "peers": lambda: compare.email(few, 4_000),
        "growth": lambda: growth.rows(largest),
        "memory": lambda: memory.rows(largest),
        "contacts": csv_source.rows,
        "lookups": lookups.rows,
        "sql": sql_source.rows,
        "encryption": encryption.rows,
        "merge-fields": merged_mails.rows,
        "start": lambda: start.rows(rounds),
        "console": console_pages.rows,
        "reloads": without_a_stop.reloads,
        "handover": without_a_stop.handovers,
        "accept-postgres": lambda: accept.on_postgres(few, seconds),
        "drain-postgres": lambda: drain.on_postgres(few, 5_000),
        "processes": lambda: processes.rows(few, 4_000),
    }


def main() -> int:
    """Measure the chosen groups, print the table and write it to results.json."""
    arguments = _arguments()
    if arguments.markdown:
        print(_markdown(json.loads(RESULTS.read_text())))
        return 0
    groups = _groups(arguments.rounds, arguments.seconds, 1_000_000 if arguments.million else 100_000)
    if unknown := set(arguments.groups) - set(groups):
        print(
            f"unknown groups: {', '.join(sorted(unknown))}; the groups are {', '.join(groups)}",
            file=sys.stderr,
        )
        return 2
    programs.install()
    machine = {**describe_machine(), "load by": load.load_name()}
    chosen = arguments.groups or [name for name in groups if name not in BY_NAME]
    rows = [row for name in chosen for row in _measure(name, groups[name])]
    results = {"machine": machine, "rows": [{**row._asdict(), "met": row.met} for row in rows]}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    _print_table(results)
    return int(any(row.figure is None for row in rows))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("groups", nargs="*", help="the groups of rows to measure (default: all but console)")
    parser.add_argument(
        "--rounds", type=int, default=5, help="rounds of each group; slow groups have at most 3"
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds of each run under load")
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
    measured: list[Row] = []
    foreign = quiet.foreign_share()
    try:
        measured.extend(rows())
    except Exception as error:  # noqa: BLE001  any exception is printed and becomes a row without a figure
        traceback.print_exc()
        measured.append(Row(name, None, "", note=f"could not be measured: {error}".splitlines()[0]))
    foreign = max(foreign, quiet.foreign_share())
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
