"""A plugin for a provider is small and its own: what several plugins need is in ``gatepost.wire``."""

from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]

# Lines that are not blank, without tests and emulator. SES signs and verifies by AWS's rules; SMPP is a protocol of its own,
# with binds, windows and receipts.
LIMITS = {
    "brevo": 300,
    "infobip": 300,
    "mailgun": 300,
    "postmark": 300,
    "sinch": 300,
    "twilio": 300,
    "ses": 400,
    "smpp": 620,
}
MAX_SHARED = 0.05
RUN = 4
"""Lines in a row that two plugins must have alike to count: a hook's signature is the same everywhere."""


def lines_of(plugin: str) -> list[str]:
    """Return the lines of a plugin that are not blank, without their indentation."""
    files = sorted(REPO.glob(f"plugins/{plugin}/gatepost_*/**/*.py"))
    return [
        line.strip()
        for file in files
        if "testing" not in file.parts
        for line in file.read_text().splitlines()
        if line.strip()
    ]


def runs(lines: list[str]) -> list[tuple[str, ...]]:
    return list(zip(*(lines[start:] for start in range(RUN)), strict=False))


def shared(lines: list[str], others: list[str]) -> float:
    """Return the share of the lines that stand in a run which the others have too."""
    known = set(runs(others))
    marked = {at + offset for at, run in enumerate(runs(lines)) if run in known for offset in range(RUN)}
    return len(marked) / len(lines)


@pytest.mark.parametrize("plugin", [name for name in LIMITS if lines_of(name)])
def test_a_plugin_is_small(plugin):
    assert len(lines_of(plugin)) <= LIMITS[plugin]


@pytest.mark.parametrize("plugin", [name for name in LIMITS if lines_of(name)])
def test_a_plugin_shares_few_lines_with_any_other(plugin):
    found = {
        other: shared(lines_of(plugin), lines_of(other))
        for other in sorted(path.name for path in (REPO / "plugins").iterdir())
        if other != plugin and lines_of(other)
    }
    assert {other: share for other, share in found.items() if share >= MAX_SHARED} == {}


def test_a_copied_part_is_found():
    lines = lines_of("vonage")
    copied = [*lines_of("sendgrid")[:60], *lines[100:120]]
    assert shared(copied, lines) >= 20 / 80
