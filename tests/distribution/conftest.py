"""A virtual environment in which only the wheels of this repository are installed."""

import os
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]


class Environment:
    """A virtual environment in which only wheels are installed; their dependencies come from the one of the tests."""

    def __init__(self, folder):
        self.folder = folder
        venv.create(folder / "venv", with_pip=False)
        self.python = folder / "venv" / "bin" / "python"
        dependencies = folder / "dependencies"
        dependencies.mkdir()
        for entry in Path(sysconfig.get_path("purelib")).iterdir():
            if not entry.name.startswith(("gatepost", "_editable")):
                (dependencies / entry.name).symlink_to(entry)
        (site,) = (folder / "venv").glob("lib/python*/site-packages")
        (site / "dependencies.pth").write_text(f"{dependencies}\n")

    @property
    def variables(self):
        """Return environment variables through which nothing of this checkout is imported."""
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))
        }
        return {**clean, "COLUMNS": "200"}

    def run(self, *command, cwd=None, code=0, **variables):
        result = subprocess.run(
            [self.python, *command],
            cwd=cwd or self.folder,
            env=self.variables | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == code, result.stdout + result.stderr
        return result.stdout

    def install(self, project):
        """Build the project's wheel and install it, without any download."""
        wheels = self.folder / f"wheel-{project.name}"
        self.run("-m", "hatchling", "build", "-t", "wheel", "-d", wheels, cwd=project)
        (wheel,) = wheels.glob("*.whl")
        options = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
        self.run("-m", "pip", "install", *options, wheel)


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """Return an environment with Gatepost and none of its plugins."""
    environment = Environment(tmp_path_factory.mktemp("environment"))
    environment.install(REPO)
    return environment
