"""The README's picture of the demo, beside what the demo really prints."""

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PICTURE = Path(__file__).parents[2] / "docs/demo.svg"
WIDTH = "92"


def pictured() -> list[str]:
    """Return the lines of text in the picture, from top to bottom."""
    lines: dict[int, list[tuple[float, str]]] = {}
    for x, line, text in re.findall(
        r'<text [^>]*x="([\d.]+)"[^>]*clip-path="url\(#demo-line-(\d+)\)">([^<]*)</text>', PICTURE.read_text()
    ):
        lines.setdefault(int(line), []).append((float(x), html.unescape(text)))
    return [words("".join(text for _, text in sorted(parts))) for _, parts in sorted(lines.items())]


def words(line: str) -> str:
    """Return a line without its spacing, and with every id as the same one."""
    return re.sub(r"…[0-9a-f]{6}", "…", re.sub(r"\s+", "", line))


@pytest.mark.slow
def test_the_picture_shows_what_the_demo_prints(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "gatepost", "demo", "--exit"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": WIDTH, "TMPDIR": str(tmp_path)},
        timeout=120,
    )

    printed = [words(line) for line in ended.stdout.splitlines()]
    assert pictured() == printed[-len(pictured()) :]
