"""The wheels that `make dist` builds, installed as docs/how-to/install.md says."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
UV = Path(sys.prefix, "bin", "uv")
SHIPPED = sorted(project.parent.name for project in REPO.glob("plugins/*/pyproject.toml"))


def run(*command: object, **options) -> str:
    result = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, **options
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """Return a folder with the result of `make dist`."""
    if not UV.exists():
        pytest.skip("needs the .venv that `make setup` builds: uv is not in it")
    folder = tmp_path_factory.mktemp("dist")
    run("make", "dist", f"DIST={folder}", cwd=REPO)
    return folder


@pytest.fixture(scope="module")
def installed(dist, tmp_path_factory):
    """Return the bin folder of a new environment with every wheel, and with no version newer than tested."""
    environment = tmp_path_factory.mktemp("venv") / "venv"
    run(UV, "venv", "--quiet", "--python", sys.executable, environment)
    python = environment / "bin" / "python"
    constraints = dist / "constraints.txt"
    wheels = sorted(dist.glob("*.whl"))
    # pip reads the constraints as an operator's would; uv installs what they name, from its cache.
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps"),
        *("--constraint", constraints, *wheels),
    )
    run(UV, "pip", "install", "--quiet", "--python", python, "--constraint", constraints, *wheels, "asyncpg")
    return environment / "bin"


def test_every_shipped_plugin_has_a_wheel_beside_the_gateway(dist):
    names = sorted(wheel.name.partition("-")[0] for wheel in dist.glob("*.whl"))

    assert names == ["gatepost", *(f"gatepost_{name}" for name in SHIPPED)]


def test_the_wheels_hold_the_conformance_reports(dist):
    packages = [file.parent for file in REPO.glob("plugins/*/gatepost_*/conformance.json")]
    assert packages
    for package in packages:
        (wheel,) = dist.glob(f"{package.name}-*.whl")
        assert f"{package.name}/conformance.json" in zipfile.ZipFile(wheel).namelist()


def test_an_empty_environment_gets_the_versions_that_were_tested(dist, installed):
    listed = json.loads(run(UV, "pip", "list", "--format=json", "--python", installed / "python"))
    pinned = dict(re.findall(r"^([\w.-]+)==([^ ;\n]+)", (dist / "constraints.txt").read_text(), re.MULTILINE))

    others = {one["name"]: one["version"] for one in listed if not one["name"].startswith("gatepost")}
    assert others
    assert {name: version for name, version in others.items() if pinned.get(name) != version} == {}
    run(UV, "pip", "check", "--python", installed / "python")


def test_the_installed_gateway_knows_every_plugin_and_delivers(installed, tmp_path):
    shown = run(installed / "gatepost", "plugins", cwd=tmp_path)
    assert [name for name in SHIPPED if f"gatepost-{name}" not in shown] == []

    run(installed / "gatepost", "demo", "--exit", cwd=tmp_path)
