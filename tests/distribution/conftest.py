"""A virtual environment in which nothing but the wheels of this repository is installed."""

import os
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]


class Environment:
    """A virtual environment into which nothing but wheels is installed; what they need is lent by ours."""

    def __init__(self, folder):
        self.folder = folder
        venv.create(folder / "venv", with_pip=False)
        self.python = folder / "venv" / "bin" / "python"
        lent = folder / "lent"
        lent.mkdir()
        for entry in Path(sysconfig.get_path("purelib")).iterdir():
            if not entry.name.startswith(("gatepost", "_editable")):
                (lent / entry.name).symlink_to(entry)
        (site,) = (folder / "venv").glob("lib/python*/site-packages")
        (site / "lent.pth").write_text(f"{lent}\n")

    @property
    def variables(self):
        """Nothing of this checkout may come in by the way of the environment."""
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))
        }
        return {**clean, "COLUMNS": "200"}

    def run(self, *command, cwd=None, code=0, **variables):
        done = subprocess.run(
            [self.python, *command],
            cwd=cwd or self.folder,
            env=self.variables | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def install(self, project):
        """Build the project's wheel and install it, without asking anybody for anything."""
        wheels = self.folder / f"wheel-{project.name}"
        self.run("-m", "hatchling", "build", "-t", "wheel", "-d", wheels, cwd=project)
        (wheel,) = wheels.glob("*.whl")
        options = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
        self.run("-m", "pip", "install", *options, wheel)


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """One in which Gatepost is installed, and none of its plugins."""
    environment = Environment(tmp_path_factory.mktemp("environment"))
    environment.install(REPO)
    return environment
