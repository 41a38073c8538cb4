"""``make bench``: what the gateway costs, every figure beside something measured in the same run.

Interleaved runs, medians, ratios of neighbours. The machine's speed drops out of a ratio; its noise does not
quite: run it on a machine that has nothing else to do. ``docs/explanation/performance.md`` says what each row
means. Exit code 0: everything was measured, whether or not a goal was met.
"""

import argparse
import json
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import accept
import csv_source
import drain
import growth
import memory
import start
import webhook_2000
import whole_way
from machine import Row, described
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results.json"

SHORTER = 3
"""Rounds of what takes long."""


def _groups(rounds: int, seconds: float, largest: int) -> Mapping[str, Callable[[], Iterator[Row]]]:
    few = min(rounds, SHORTER)
    return {
        "accept": lambda: accept.rows(rounds, seconds),
        "accept-slow-disk": lambda: accept.slow_disk(few, seconds),
        "drain-http": lambda: drain.rows(drain.HTTP, rounds, 10_000),
        "drain-callbacks": lambda: drain.with_callbacks(few, 5_000),
        "drain-smtp": lambda: drain.rows(drain.MAIL, few, 5_000),
        "drain-smtp-limit": lambda: drain.limited(few, 5_000),
        "whole-way": lambda: whole_way.rows(few, 4_000, 600),
        "webhook": webhook_2000.rows,
        "growth": lambda: growth.rows(largest),
        "memory": lambda: memory.rows(largest),
        "contacts": csv_source.rows,
        "start": lambda: start.rows(rounds),
        "accept-postgres": lambda: accept.on_postgres(few, seconds),
        "drain-postgres": lambda: drain.on_postgres(few, 5_000),
    }


def main() -> int:
    given = _options()
    if given.markdown:
        print(_markdown(json.loads(RESULTS.read_text())))
        return 0
    groups = _groups(given.rounds, given.seconds, 1_000_000 if given.million else 100_000)
    if unknown := set(given.which) - set(groups):
        print(f"no such rows: {', '.join(sorted(unknown))}; there are {', '.join(groups)}", file=sys.stderr)
        return 2
    machine = described()
    rows = [row for name in given.which or groups for row in _measured(name, groups[name])]
    results = {"machine": machine, "rows": [{**row._asdict(), "met": row.met} for row in rows]}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    _show(results)
    return int(any(row.figure is None for row in rows))


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("which", nargs="*", help="only these groups of rows")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=3.0, help="of each run under load")
    options.add_argument("--million", action="store_true", help="a million rows where else 100,000 do")
    options.add_argument("--markdown", action="store_true", help="measure nothing; print the last results")
    return options.parse_args()


def _measured(name: str, rows: Callable[[], Iterator[Row]]) -> list[Row]:
    """One group; what goes wrong in it must not cost the others their place in the table."""
    print(f"{name} …", file=sys.stderr, flush=True)
    found: list[Row] = []
    try:
        found.extend(rows())
    except Exception as error:  # noqa: BLE001  whatever it is, it is shown and counted
        traceback.print_exc()
        found.append(Row(name, None, "", note=f"could not be measured: {error}".splitlines()[0]))
    return found


def _cells(row: Mapping[str, object]) -> tuple[str, str, str, str, str]:
    figure = "" if row["figure"] is None else f"{_round(float(str(row['figure'])))} {row['unit']}"
    goal = (
        "" if row["goal"] is None else f"{'≥' if row['at_least'] else '≤'} {_round(float(str(row['goal'])))}"
    )
    met = {True: "yes", False: "NO", None: ""}[row["met"]]
    return str(row["name"]), figure, goal, met, str(row["note"])


def _round(figure: float) -> str:
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"


def _title(machine: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in machine.items())


def _show(results: Mapping[str, list[Mapping[str, object]]]) -> None:
    table = Table("what", "figure", "goal", "met", "", title=_title(results["machine"]))
    for row in results["rows"]:
        table.add_row(*_cells(row))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _markdown(results: Mapping[str, list[Mapping[str, object]]]) -> str:
    rows = [("what", "figure", "goal", "met", "more"), ("---",) * 5, *map(_cells, results["rows"])]
    return "\n".join([f"{_title(results['machine'])}:", "", *(f"| {' | '.join(row)} |" for row in rows)])


if __name__ == "__main__":
    sys.exit(main())
