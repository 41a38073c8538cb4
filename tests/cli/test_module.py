"""``python -m gatepost`` imports installed modules only, and none from the working directory."""

import subprocess
import sys

import pytest

EVIL = "import pathlib; pathlib.Path({mark!r}).touch()\n"


@pytest.fixture
def trap(tmp_path):
    """Return a folder with modules that have the names of real ones, and with a plugin; and the file they create."""
    folder, mark = tmp_path / "trap", tmp_path / "imported"
    info = folder / "gatepost_evil-1.0.dist-info"
    info.mkdir(parents=True)
    for name in ("gatepost_evil", "phonenumbers", "msgspec", "structlog", "rich_click", "logging"):
        (folder / f"{name}.py").write_text(EVIL.format(mark=str(mark)))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gatepost-evil\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[gatepost]\nevil = gatepost_evil:Plugin\n")
    (folder / "gatepost.toml").write_text('[plugins.one]\nuse = "evil"\n')
    return folder, mark


def test_modules_in_the_working_directory_are_not_imported(trap):
    folder, mark = trap

    result = subprocess.run(
        [sys.executable, "-m", "gatepost", "check"], cwd=folder, capture_output=True, text=True, check=False
    )

    assert not mark.exists()
    # The configuration in that folder is read all the same.
    assert "plugins.one" in result.stdout
    assert "no such plugin is installed" in result.stdout
