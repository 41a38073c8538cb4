"""The scripts of the benchmarks still fit the gateway."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "benchmarks"

PROGRAMS = {"by_hand", "callback_sink"}
"""Scripts that read their arguments when they are imported."""

IMPORT_EACH_ALONE = """\
import importlib, sys
path = list(sys.path)
for name in NAMES:
    sys.path[:] = path
    before = set(sys.modules)
    importlib.import_module(name)
    for module in set(sys.modules) - before:
        file = getattr(sys.modules[module], "__file__", None) or ""
        if "/benchmarks/" in file or "/tests/" in file:
            del sys.modules[module]
"""
"""Imports the scripts in NAMES, each as if it were the first, while libraries stay loaded."""


def run(*arguments: str) -> str:
    """Run Python in the folder of the scripts; return what it printed."""
    completed = subprocess.run(
        [sys.executable, *arguments],
        cwd=SCRIPTS,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


def test_every_script_can_be_imported_alone():
    names = [path.stem for path in sorted(SCRIPTS.glob("*.py")) if path.stem not in PROGRAMS]

    run("-c", f"NAMES = {names}\n{IMPORT_EACH_ALONE}")


def test_the_webhook_is_measured():
    figures = json.loads(run("webhook_2000.py", "--json", "20"))

    assert figures["recorded"] > figures["read"] > 0


@pytest.mark.slow
def test_the_steps_of_a_growing_store_are_measured():
    code = "import growth; growth.ROUNDS, growth.WARMUP_ROUNDS = 2, 0; growth.main()"

    figures = json.loads(run("-c", code, "100"))

    assert set(figures) == {"accept 100", "claim 100", "cpu 100"}
    assert min(figures.values()) > 0


@pytest.mark.slow
@pytest.mark.parametrize(("script", "rows"), [("merged_mails", 3), ("encryption", 2)])
def test_what_needs_no_gateway_is_measured(script, rows):
    few = "one.ROUNDS, one.CALLS, one.WARMUP_ROUNDS = 2, 20, 0"
    code = f"import {script} as one; {few}; print([row.figure is not None for row in one.rows()])"

    assert json.loads(run("-c", code).lower()) == [True] * rows
