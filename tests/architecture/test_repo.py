"""What holds for the repository as a whole."""

import importlib.metadata
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import gatepost
import gatepost.hookspecs

REPO = Path(__file__).parents[2]
PLUGIN_PROJECTS = sorted(
    [*REPO.glob("plugins/*/pyproject.toml"), *REPO.glob("plugin_template/pyproject.toml")]
)


def tracked_files() -> list[Path]:
    """What git knows or is about to know; what is ignored is nobody's business."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout: an unpacked archive has no list of its files")
    return [file for name in listed.stdout.split("\0") if name and (file := REPO / name).is_file()]


def shown(project: Path) -> str:
    return str(project.relative_to(REPO).parent)


def requirements() -> list[Requirement]:
    """Every requirement of every project here, that which only developers have included."""
    texts: list[str] = []
    for file in [REPO / "pyproject.toml", *PLUGIN_PROJECTS]:
        tables = tomllib.loads(file.read_text())
        texts += tables["project"]["dependencies"]
        for group in ("optional-dependencies", "dependency-groups"):
            table = tables["project"].get(group, {}) | tables.get(group, {})
            texts += [text for listed in table.values() for text in listed]
    found = [Requirement(text) for text in texts]
    return [one for one in found if not one.name.startswith("gatepost")]


def locked() -> dict[str, list[tuple[Version, str]]]:
    """Names of requirements.lock with their versions (several where Pythons differ) and markers."""
    lock: dict[str, list[tuple[Version, str]]] = {}
    for line in (REPO / "requirements.lock").read_text().splitlines():
        if found := re.match(r"([\w.-]+)==([^ ;]+)(?: ; (.*?))? \\$", line):
            lock.setdefault(canonicalize_name(found[1]), []).append((Version(found[2]), found[3] or ""))
    return lock


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_no_installed_version_falls_under_its_floor(requirement):
    if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
        pytest.skip(f"not meant for this platform: {requirement.marker}")

    assert requirement.specifier.contains(importlib.metadata.version(requirement.name), prereleases=True)


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_no_locked_version_falls_under_its_floor(requirement):
    versions = locked().get(canonicalize_name(requirement.name))

    assert versions, "not in requirements.lock: run make lock"
    assert all(requirement.specifier.contains(version, prereleases=True) for version, _ in versions)


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_every_requirement_has_a_floor(requirement):
    """Without a floor, pip may keep an old version with a known vulnerability."""
    assert not requirement.specifier.contains("0.0.1")


def test_the_lock_names_no_place_and_none_of_our_own():
    text = (REPO / "requirements.lock").read_text()

    assert "://" not in text
    assert " @ " not in text
    assert not [name for name in locked() if name.startswith("gatepost")]
    assert text.count("==") <= text.count("--hash=sha256:")


def test_an_installed_gateway_gets_the_versions_that_the_lock_has():
    """A constraint that differs from the lock names a version that no test ran with."""
    pins = re.findall(r"^([\w.-]+)==([^ ;\n]+)", (REPO / "constraints.txt").read_text(), re.MULTILINE)

    assert pins
    assert [
        name
        for name, version in pins
        if Version(version) not in {each for each, _ in locked()[canonicalize_name(name)]}
    ] == []


def test_what_setup_installs_is_checked_by_hash():
    """The installer too: whoever can replace uv can replace everything that it installs."""
    pinned = (REPO / "uv-bootstrap.lock").read_text()

    assert re.search(r"^uv==\S+ \\$", pinned, re.MULTILINE)
    assert "--hash=sha256:" in pinned
    assert "--require-hashes --requirement uv-bootstrap.lock" in (REPO / "Makefile").read_text()


def test_workflows_name_actions_by_their_commit():
    """A tag can be moved to other code after it was reviewed; a commit can't."""
    used = [
        action
        for file in tracked_files()
        if file.parent.name == "workflows"
        for action in re.findall(r"uses: (\S+)", file.read_text())
    ]

    assert used
    assert [action for action in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action)] == []


@pytest.mark.parametrize("project", PLUGIN_PROJECTS, ids=shown)
def test_a_plugin_is_found_by_its_entry_point(project):
    tables = tomllib.loads(project.read_text())["project"]
    installed = importlib.metadata.distribution(tables["name"]).entry_points

    entry_points = tables["entry-points"]["gatepost"]
    assert entry_points
    for name in entry_points:
        plugin = installed.select(group="gatepost", name=name)[name].load()
        assert plugin.api_version == gatepost.hookspecs.API_VERSION


@pytest.mark.parametrize("project", PLUGIN_PROJECTS, ids=shown)
def test_a_plugin_names_the_oldest_gateway_that_will_do(project):
    required = map(Requirement, tomllib.loads(project.read_text())["project"]["dependencies"])
    floors = [one.specifier for one in required if one.name == "gatepost"]

    assert len(floors) == 1
    assert floors[0].contains(gatepost.__version__, prereleases=True)
    assert not floors[0].contains("0.0.1")


def test_what_is_released_together_has_one_version():
    """An operator compares one number; the template is a plugin to come, with a number of its own."""
    projects = [REPO / "pyproject.toml", *REPO.glob("plugins/*/pyproject.toml")]

    assert {
        shown(project): version
        for project in projects
        if (version := tomllib.loads(project.read_text())["project"]["version"]) != gatepost.__version__
    } == {}, f"installed is {gatepost.__version__}: run make setup when all have the new one"


def test_every_python_that_is_promised_is_tested():
    promised = re.findall(r"Python :: (3\.\d+)", (REPO / "pyproject.toml").read_text())
    (matrix,) = re.findall(r"python: \[(.+)\]", (REPO / ".github/workflows/ci.yml").read_text())

    assert re.findall(r"3\.\d+", matrix) == promised


def test_no_file_depends_on_the_machine_it_was_written_on():
    # In parts, so that this file doesn't find itself.
    machine_path = re.compile("(?<![\\w.*}~>-])/" + "(work|root|tmp)/" + "[a-z]")

    assert [
        f"{file.relative_to(REPO)}:{number}: {line.strip()[:80]}"
        for file in tracked_files()
        if file.name != "LICENSE"
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1)
        if machine_path.search(line)
    ] == []


def test_what_is_left_out_says_why():
    """A skip or an expected failure without a reason hides what nobody looks for any more."""
    silent = re.compile(r"pytest\.(mark\.)?(skip|xfail)(\(\))?\s*([],)]|$)")

    assert [
        f"{file.relative_to(REPO)}:{number}"
        for file in tracked_files()
        if file.suffix == ".py"
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if silent.search(line)
    ] == []


def test_every_make_target_is_explained():
    """`make` lists what has an explanation; a target that is not phony is skipped where a file has its name."""
    text = (REPO / "Makefile").read_text()
    rules = re.findall(r"^([a-z-]+):(?!=)(.*)$", text, re.MULTILINE)
    (phony,) = re.findall(r"^\.PHONY: (.+)$", text, re.MULTILINE)

    assert rules
    assert [target for target, rest in rules if "##" not in rest] == []
    assert sorted(phony.split()) == sorted(target for target, _ in rules)
