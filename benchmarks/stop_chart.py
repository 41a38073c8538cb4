"""Draws ``docs/explanation/without-a-stop.svg`` from what ``bench.py reloads`` and ``bench.py handover`` have written."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from without_a_stop import SECONDS

CHART = Path(__file__).parents[1] / "docs/explanation/without-a-stop.svg"
WIDTH, HEIGHT, LEFT, GAP = 760, 110, 60, 46

TITLES = {
    "reloads": "100 reloads",
    "handover-sqlite": "Four handovers on SQLite: the next process waits for the file",
    "restart-sqlite": "Four restarts on SQLite, as systemd does them: one process ends, then the next begins",
    "handover-postgresql": "Four handovers on PostgreSQL: both processes work side by side",
}


def panel(title: str, seconds: Sequence[Sequence[float]], top: int) -> Iterator[str]:
    """Yield the parts of one panel: requests that were answered as bars, the slowest of each second as a line."""
    most = max(answered + refused for answered, refused, *_ in seconds)
    slowest = max(slow for _, _, slow, _ in seconds)
    step = (WIDTH - LEFT - 10) / len(seconds)
    yield f'<text x="{LEFT}" y="{top - 10}" class="title">{title}</text>'
    yield f'<text x="{LEFT - 6}" y="{top + 8}" class="scale">{most:.0f}/s</text>'
    yield f'<text x="{LEFT - 6}" y="{top + 24}" class="scale slow">{slowest:.2f} s</text>'
    for number, (answered, refused, _, marks) in enumerate(seconds):
        x, height = LEFT + number * step, HEIGHT * answered / most
        yield f'<rect x="{x:.1f}" y="{top + HEIGHT - height:.1f}" width="{step * 0.85:.1f}" height="{height:.1f}" class="answered"/>'
        if refused:
            red = HEIGHT * refused / most
            yield f'<rect x="{x:.1f}" y="{top + HEIGHT - height - red:.1f}" width="{step * 0.85:.1f}" height="{red:.1f}" class="refused"/>'
        if marks:
            middle = x + step * 0.42
            yield f'<path d="M{middle:.1f} {top + HEIGHT + 2} l-4 8 h8 z" class="mark"/>'
    points = " ".join(
        f"{LEFT + (number + 0.42) * step:.1f},{top + HEIGHT - HEIGHT * slow / slowest:.1f}"
        for number, (_, _, slow, _) in enumerate(seconds)
    )
    yield f'<polyline points="{points}" class="line"/>'


def main() -> None:
    """Write the chart."""
    measured = json.loads(SECONDS.read_text())
    parts: list[str] = []
    top = 30
    for key, title in TITLES.items():
        if key in measured:
            parts += panel(title, measured[key], top)
            top += HEIGHT + GAP
    style = (
        "text{font:13px sans-serif;fill:#333}.title{font-weight:bold}.scale{text-anchor:end;font-size:11px}"
        ".slow{fill:#b3541e}.answered{fill:#8fbfae}.refused{fill:#b02a30}.mark{fill:#333}"
        ".line{fill:none;stroke:#b3541e;stroke-width:1.5}"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img">'
    CHART.write_text(
        "\n".join(
            [
                head,
                f"<style>{style}</style>",
                '<rect width="100%" height="100%" fill="#fff"/>',
                *parts,
                "</svg>",
            ]
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
