"""``make bench``: what the gateway costs, every figure beside something measured in the same run.

Interleaved runs, medians, ratios of neighbours. The machine's speed drops out of a ratio; its noise does not
quite: run it on a machine that has nothing else to do.
"""

import argparse
import json
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import accept
import drain
from machine import Row
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results.json"


def _rows(rounds: int, seconds: float) -> dict[str, Callable[[], Iterator[Row]]]:
    return {
        "accept": lambda: accept.rows(rounds, seconds),
        "drain-http": lambda: drain.rows(drain.HTTP, rounds, 10_000),
        "drain-smtp": lambda: drain.rows(drain.MAIL, rounds, 5_000),
    }


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("which", nargs="*", help="only these rows")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=3.0, help="of each run under load")
    given = options.parse_args()
    made = _rows(given.rounds, given.seconds)
    rows = [row for name in given.which or made for row in made[name]()]
    table = Table("what", "figure", "goal", "met", "", title=f"Python {platform.python_version()}")
    for row in rows:
        goal = "" if row.goal is None else f"{'≥' if row.at_least else '≤'} {row.goal:g}"
        met = {True: "yes", False: "NO", None: ""}[row.met]
        table.add_row(row.name, f"{row.figure:.3g} {row.unit}", goal, met, row.note)
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    RESULTS.write_text(json.dumps([{**row._asdict(), "met": row.met} for row in rows], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
