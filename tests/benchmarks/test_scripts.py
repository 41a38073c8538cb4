"""The scripts of the benchmarks still fit the gateway."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "benchmarks"

PROGRAMS = {"by_hand", "callback_sink"}
"""Scripts that read their arguments when they are imported."""


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


def test_every_script_can_be_imported():
    names = [path.stem for path in sorted(SCRIPTS.glob("*.py")) if path.stem not in PROGRAMS]

    run("-c", f"import {', '.join(names)}")


def test_the_webhook_is_measured():
    figures = json.loads(run("webhook_2000.py", "--json", "20"))

    assert figures["recorded"] > figures["read"] > 0
