"""Rules for the repository as a whole: requirements, lock files, versions, workflows, Makefile."""

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
    [*REPO.glob("plugins/*/pyproject.toml"), *REPO.glob("plugin_template/*/pyproject.toml")]
)


def tracked_files() -> list[Path]:
    """Return the files that git tracks or would add; ignored files are left out."""
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
    """Return every requirement of every project here, including those of the developers."""
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
    """Return the names in requirements.lock, each with its versions and markers.

    A name has several versions where Python versions need different ones.
    """
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


def test_the_lock_contains_no_url_and_no_package_of_this_repository():
    text = (REPO / "requirements.lock").read_text()

    assert "://" not in text
    assert " @ " not in text
    assert not [name for name in locked() if name.startswith("gatepost")]
    assert text.count("==") <= text.count("--hash=sha256:")


def test_the_constraints_have_the_versions_of_the_lock():
    """With another version than the lock's, operators would run what no test ran with."""
    pins = re.findall(r"^([\w.-]+)==([^ ;\n]+)", (REPO / "constraints.txt").read_text(), re.MULTILINE)

    assert pins
    assert [
        name
        for name, version in pins
        if Version(version) not in {each for each, _ in locked()[canonicalize_name(name)]}
    ] == []


def test_setup_checks_the_hash_of_every_package():
    """This includes uv: a replaced uv could replace everything that it installs."""
    pinned = (REPO / "uv-bootstrap.lock").read_text()

    assert re.search(r"^uv==\S+ \\$", pinned, re.MULTILINE)
    assert "--hash=sha256:" in pinned
    assert "--require-hashes --requirement uv-bootstrap.lock" in (REPO / "Makefile").read_text()


def test_workflows_name_actions_by_their_commit():
    """A tag can be moved to other code after a review; a commit cannot."""
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
def test_a_plugin_requires_a_minimum_version_of_gatepost(project):
    required = map(Requirement, tomllib.loads(project.read_text())["project"]["dependencies"])
    floors = [one.specifier for one in required if one.name == "gatepost"]

    assert len(floors) == 1
    assert floors[0].contains(gatepost.__version__, prereleases=True)
    assert not floors[0].contains("0.0.1")


def test_the_gateway_and_its_plugins_have_one_version():
    """They are released together, and an operator compares one number. The template has its own version."""
    projects = [REPO / "pyproject.toml", *REPO.glob("plugins/*/pyproject.toml")]

    assert {
        shown(project): version
        for project in projects
        if (version := tomllib.loads(project.read_text())["project"]["version"]) != gatepost.__version__
    } == {}, f"the installed version is {gatepost.__version__}; after a change of the version run make setup"


def test_ci_runs_every_python_version_of_the_classifiers():
    promised = re.findall(r"Python :: (3\.\d+)", (REPO / "pyproject.toml").read_text())
    (matrix,) = re.findall(r"python: \[(.+)\]", (REPO / ".github/workflows/ci.yml").read_text())

    assert re.findall(r"3\.\d+", matrix) == promised


def test_no_file_contains_a_path_of_one_machine():
    # The pattern is written in parts, so that it does not match itself.
    machine_path = re.compile("(?<![\\w.*}~>-])/" + "(work|root|tmp)/" + "[a-z]")

    assert [
        f"{file.relative_to(REPO)}:{number}: {line.strip()[:80]}"
        for file in tracked_files()
        if file.name != "LICENSE"
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1)
        if machine_path.search(line)
    ] == []


def test_every_skip_and_xfail_has_a_reason():
    """Without a reason, it is not clear when a skipped or failing test should pass again."""
    silent = re.compile(r"pytest\.(mark\.)?(skip|xfail)(\(\))?\s*([],)]|$)")

    assert [
        f"{file.relative_to(REPO)}:{number}"
        for file in tracked_files()
        if file.suffix == ".py"
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if silent.search(line)
    ] == []


def test_every_make_target_has_a_help_text_and_is_phony():
    """`make` lists targets with a help text; it skips a target that is not phony if a file has its name."""
    text = (REPO / "Makefile").read_text()
    rules = re.findall(r"^([a-z-]+):(?!=)(.*)$", text, re.MULTILINE)
    (phony,) = re.findall(r"^\.PHONY: (.+)$", text, re.MULTILINE)

    assert rules
    assert [target for target, rest in rules if "##" not in rest] == []
    assert sorted(phony.split()) == sorted(target for target, _ in rules)
