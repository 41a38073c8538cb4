"""What `make dist` builds, checked and installed as docs/how-to/install.md says."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

REPO = Path(__file__).parents[2]
UV = Path(sys.prefix, "bin", "uv")
SHIPPED = sorted(project.parent.name for project in REPO.glob("plugins/*/pyproject.toml"))
PROVIDERS = sorted(page.stem for page in REPO.glob("docs/how-to/providers/*.md"))


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


def commit_time() -> str:
    """Return the time of the commit in seconds, or of a source without git what the Makefile takes."""
    command = ["git", "log", "-1", "--format=%ct"]
    result = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    return result.stdout.strip() or "1580601600"


@pytest.mark.parametrize("pattern", ["*.whl", "*.tar.gz"])
def test_every_shipped_plugin_is_beside_the_gateway(dist, pattern):
    names = sorted(file.name.partition("-")[0] for file in dist.glob(pattern))

    assert names == ["gatepost", *(f"gatepost_{name}" for name in SHIPPED)]


@pytest.mark.slow
def test_another_folder_umask_and_time_zone_give_the_same_bytes(dist, tmp_path):
    copy = tmp_path / "elsewhere"
    for name in ("core", "plugins", "plugin_template"):
        shutil.copytree(REPO / name, copy / name)
    for name in (
        "Makefile",
        "constraints.txt",
        "pyproject.toml",
        ".gitignore",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
    ):
        (copy / name).write_bytes((REPO / name).read_bytes())

    # Another machine would have these tools in a .venv of its own.
    tools = ("--old-file", "setup", f"BIN={UV.parent}")
    environment = os.environ | {"SOURCE_DATE_EPOCH": commit_time(), "TZ": "Asia/Tokyo"}
    run("make", *tools, "dist", "DIST=again", cwd=copy, env=environment, umask=0o077)

    again = copy / "again"
    assert {file.name for file in dist.iterdir()} == {file.name for file in again.iterdir()}
    assert [
        file.name for file in dist.iterdir() if file.read_bytes() != (again / file.name).read_bytes()
    ] == []


@pytest.mark.slow
def test_an_sdist_holds_everything_that_its_wheel_needs(dist, tmp_path):
    environment = os.environ | {"SOURCE_DATE_EPOCH": commit_time()}
    for sdist in dist.glob("*.tar.gz"):
        options = ("--no-build-isolation", "--python", sys.executable, "--quiet", "--out-dir", tmp_path)
        run(UV, "build", "--wheel", *options, sdist, env=environment)

    assert len(built := list(tmp_path.glob("*.whl"))) == 1 + len(SHIPPED)
    assert [file.name for file in built if file.read_bytes() != (dist / file.name).read_bytes()] == []


def test_every_file_can_be_verified_by_its_checksum(dist):
    run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=dist)

    names = {line.split()[1] for line in (dist / "SHA256SUMS").read_text().splitlines()}
    assert names == {file.name for file in dist.iterdir()} - {"SHA256SUMS"}


def test_the_sbom_lists_what_an_installed_gateway_is_made_of(dist):
    text = (dist / "sbom.cdx.json").read_text()
    sbom = json.loads(text)

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    listed = {(one["name"], one["version"]) for one in sbom["components"]}
    pinned = re.findall(r"^([\w.-]+)==([^ ;\n]+)", (dist / "constraints.txt").read_text(), re.MULTILINE)
    gateway = sbom["metadata"]["component"]
    own = {(name, gateway["version"]) for name in ("gatepost", *(f"gatepost-{name}" for name in SHIPPED))}
    assert listed == {*pinned} | own
    assert gateway["name"] == "gatepost"
    assert sbom["metadata"]["timestamp"] == datetime.fromtimestamp(int(commit_time()), UTC).isoformat()
    assert "serialNumber" not in sbom


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


# What the tests of the plugins use beside the extra `testing`.
TOOLS = ("aiosmtpd", "dkimpy[ed25519]", "hypothesis", "trustme")


@pytest.mark.slow
@pytest.mark.parametrize("name", PROVIDERS)
def test_a_plugin_alone_in_an_environment_passes_its_own_tests(dist, tmp_path, name):
    run(UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    (gateway,), (plugin,) = dist.glob("gatepost-*.whl"), dist.glob(f"gatepost_{name}-*.whl")
    run(
        *(UV, "pip", "install", "--quiet", "--python", python, "--constraint", dist / "constraints.txt"),
        *(f"gatepost[testing] @ {gateway.as_uri()}", plugin, *TOOLS),
    )
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PYTEST"))}
    run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"plugins/{name}/tests", cwd=REPO, env=clean)
