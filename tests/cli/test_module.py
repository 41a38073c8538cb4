"""``python -m gatepost`` imports what is installed, and nothing from the folder that it is called in."""

import subprocess
import sys

import pytest

EVIL = "import pathlib; pathlib.Path({mark!r}).touch()\n"


@pytest.fixture
def trap(tmp_path):
    """A folder with modules that stand in for real ones, and a plugin of its own; and the mark that they leave."""
    folder, mark = tmp_path / "trap", tmp_path / "imported"
    info = folder / "gatepost_evil-1.0.dist-info"
    info.mkdir(parents=True)
    for name in ("gatepost_evil", "phonenumbers", "msgspec", "structlog", "rich_click", "logging"):
        (folder / f"{name}.py").write_text(EVIL.format(mark=str(mark)))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gatepost-evil\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[gatepost]\nevil = gatepost_evil:Plugin\n")
    (folder / "gatepost.toml").write_text('[plugins.one]\nuse = "evil"\n')
    return folder, mark


def test_what_lies_in_the_working_directory_is_not_imported(trap):
    folder, mark = trap

    ended = subprocess.run(
        [sys.executable, "-m", "gatepost", "check"], cwd=folder, capture_output=True, text=True, check=False
    )

    assert not mark.exists()
    # Its configuration is read from there all the same.
    assert "plugins.one" in ended.stdout
    assert "no such plugin is installed" in ended.stdout
