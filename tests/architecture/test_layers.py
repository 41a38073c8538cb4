"""The layers of docs/explanation/design.md, as import-linter reads them from pyproject.toml."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
CONFIG = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["importlinter"]
PACKAGES = {
    found.parent.name: found.parent
    for pattern in ("core/gatepost", "plugins/*/gatepost_*", "plugin_template/*/gatepost_*")
    for found in REPO.glob(f"{pattern}/__init__.py")
}


def lint_imports(*search_path: Path, folder: Path = REPO) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, search_path)), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_module_imports_only_from_lower_layers():
    report = lint_imports()

    assert report.returncode == 0, report.stdout + report.stderr


def test_every_package_is_in_the_contracts():
    plugins = PACKAGES.keys() - {"gatepost"}
    lists = {contract["id"]: contract for contract in CONFIG["contracts"]}

    assert set(CONFIG["root_packages"]) == PACKAGES.keys()
    assert set(lists["core"]["forbidden_modules"]) == plugins
    assert set(lists["plugins"]["modules"]) == plugins
    assert set(lists["contract"]["source_modules"]) == plugins
    emulators = {f"{name}.testing" for name in plugins if [*PACKAGES[name].glob("testing*")]}
    assert set(lists["emulators"]["protected_modules"]) == emulators


@pytest.fixture
def copy(tmp_path):
    """Return a folder with copies of the packages, in which a test plants an import."""
    for name, folder in PACKAGES.items():
        shutil.copytree(folder, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPO / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("gatepost/errors.py", "import gatepost.model", "Modules import only"),
        ("gatepost/observe/logs.py", "import gatepost.wire", "Modules import only"),
        ("gatepost/outbox/states.py", "def plant():\n    import gatepost.outbox.queries", "No two modules"),
        ("gatepost/newcomer.py", "", "not listed as layers"),
        ("gatepost/wire/__init__.py", "import gatepost_csv", "The core imports no plugin"),
        ("gatepost_csv/__init__.py", "import gatepost_smtp", "Plugins never import each other"),
        ("gatepost_csv/__init__.py", "import gatepost.observe.logs", "A plugin imports hookspecs"),
        ("gatepost_vonage/testing/emulator.py", "import gatepost.observe.logs", "A plugin imports hookspecs"),
        ("gatepost_csv/__init__.py", "import gatepost.testing.emulator", "A plugin imports hookspecs"),
        ("gatepost_vonage/plugin.py", "import gatepost_vonage.testing", "does not import its emulator"),
    ],
)
def test_a_planted_import_is_found(copy, file, line, broken):
    with (copy / file).open("a") as module:
        module.write(f"\n{line}\n")

    report = lint_imports(copy, folder=copy)

    assert report.returncode == 1, report.stdout + report.stderr
    broken_part = report.stdout.partition("Broken contracts")[2]
    assert broken in broken_part, report.stdout
