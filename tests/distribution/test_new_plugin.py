"""`gatepost new-plugin` writes a complete plugin under another name, or nothing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gatepost.cli import main

# Every choice that the options leave, under short names and the longest.
VARIANTS = {
    "acme-sms": ["--channels", "sms"],
    "gatepost-mail-with-forty-letters-in-name": ["--channels", "email"],
    "ab": [],
    "crm-users": ["--contacts"],
    "texts-and-users": ["--contacts", "--channels", "sms"],
    "mails-and-users": ["--contacts", "--channels", "email"],
    "all-parts": ["--contacts", "--channels", "email, sms"],
    "pager": ["--transport", "tcp", "--channels", "sms"],
    "relay-with-forty-letters-in-its-own-name": ["--transport", "tcp", "--channels", "email"],
    "ocean": ["--transport", "tcp"],
    "crm-sql": ["--transport", "sql"],
}


def call(*arguments):
    return CliRunner().invoke(main, ["new-plugin", *arguments])


@pytest.fixture
def new_plugin(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return call


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Return the folder of a new plugin for every variant, by name."""
    parent = tmp_path_factory.mktemp("plugins")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(parent)
        for name, options in VARIANTS.items():
            result = call(name, *options)
            assert result.exit_code == 0, result.output
    return {name: parent / name for name in VARIANTS}


def texts(folder):
    # Other tests of this module run the plugin, so that Python and tools may have left their caches in it.
    return {
        str(file.relative_to(folder)): file.read_text()
        for file in folder.rglob("*")
        if file.is_file() and not {".git", "__pycache__"} & set(file.relative_to(folder).parts)
        if not any(part.endswith("_cache") for part in file.relative_to(folder).parts)
    }


def module_of(name):
    return name.replace("-", "_")


def run(*command, cwd, **variables):
    """Run a tool on every plugin in one process; return its output, which is shown if it fails."""
    ended = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env={**os.environ, "PYTEST_ADDOPTS": "", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.parametrize("name", VARIANTS)
def test_nothing_of_the_example_is_left(folders, name):
    for file, text in texts(folders[name]).items():
        assert "example" not in file.lower()
        assert "example" not in text.lower(), file
        assert "YEAR" not in text, file
        assert not re.search(r"(#|<!--) </?\w+>", text), file


@pytest.mark.parametrize("name", VARIANTS)
def test_the_plugin_is_complete(folders, name):
    module = module_of(name)
    files = texts(folders[name])

    assert f'{name.removeprefix("gatepost-")} = "{module}:' in files["pyproject.toml"]
    assert f'name = "{name}"' in files["pyproject.toml"]
    assert {f"{module}/__init__.py", f"{module}/py.typed", "README.md", "tests/conftest.py"} <= files.keys()
    assert {".github/workflows/test.yml", ".gitignore", "CHANGELOG.md", "LICENSE"} <= files.keys()


@pytest.mark.parametrize("check", [["check"], ["format", "--check", "--diff"]], ids=lambda words: words[0])
def test_every_plugin_is_clean_for_ruff(folders, check):
    run("-m", "ruff", check[0], "--no-cache", *check[1:], *folders.values(), cwd="/")


@pytest.mark.slow
def test_every_plugin_is_clean_for_mypy(folders, tmp_path):
    packages = [word for name in VARIANTS for word in ("-p", module_of(name))]
    config = tmp_path / "mypy.ini"
    config.write_text("[mypy]\nstrict = True\n")
    run(
        *("-m", "mypy", "--config-file", config, "--cache-dir", tmp_path / "cache", *packages),
        cwd=tmp_path,
        MYPYPATH=os.pathsep.join(map(str, folders.values())),
    )


@pytest.mark.slow
def test_every_plugin_passes_its_own_tests(folders, tmp_path):
    # The checks of the conformance kit run on the templates themselves, and below on one plugin.
    own = [
        file
        for folder in folders.values()
        for file in folder.glob("tests/test_*.py")
        if not file.stem.endswith("_conformance")
    ]
    assert len(own) == len(VARIANTS)
    config = folders["acme-sms"] / "pyproject.toml"
    report = run(
        *(
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "--quiet",
            "--config-file",
            config,
            "--rootdir",
            "/",
            *own,
        ),
        cwd=tmp_path,
        PYTHONPATH=os.pathsep.join(map(str, folders.values())),
    )
    assert re.search(r"\d+ passed in", report)


def test_only_the_chosen_parts_are_written(folders):
    sms = "".join(texts(folders["acme-sms"]).values())
    users = "".join(texts(folders["crm-users"]).values())

    assert not (folders["acme-sms"] / "acme_sms/users.py").exists()
    assert not (folders["crm-users"] / "crm_users/messages.py").exists()
    assert not (folders["crm-users"] / "crm_users/reports.py").exists()
    assert "send_sms" in sms
    assert "send_email" not in sms
    assert "find_contact" not in sms
    assert "find_contact" in users
    assert "send_" not in users
    assert "webhook" not in users


def git(folder, *arguments):
    return subprocess.run(
        ["git", "-C", folder, *arguments], capture_output=True, text=True, check=True
    ).stdout.splitlines()


def test_the_folder_is_a_repository_with_every_file_staged(folders):
    folder = folders["acme-sms"]

    assert set(git(folder, "diff", "--cached", "--name-only")) == texts(folder).keys()


def test_inside_another_repository_none_is_begun(new_plugin, tmp_path):
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)

    assert new_plugin("acme-sms", "--channels", "sms").exit_code == 0

    assert not (tmp_path / "acme-sms" / ".git").exists()
    assert git(tmp_path, "status", "--short") == ["?? acme-sms/"]


def test_without_git_the_plugin_is_written_and_the_lack_is_said(new_plugin, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    result = new_plugin("acme-sms", "--channels", "sms")

    assert result.exit_code == 0
    assert "git is not installed, so acme-sms/ is not a repository yet" in result.output
    assert (tmp_path / "acme-sms" / "README.md").exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["Acme"], "can't be a plugin's name: use lower-case letters"),
        (["../acme"], "can't be a plugin's name: use lower-case letters"),
        (["/acme"], "can't be a plugin's name: use lower-case letters"),
        (["acme--sms"], "can't be a plugin's name: use lower-case letters"),
        (["1acme"], "can't be a plugin's name: use lower-case letters"),
        (["acme_sms"], "can't be a plugin's name: use lower-case letters"),
        ([""], "can't be a plugin's name: use lower-case letters"),
        (["gatepost-"], "can't be a plugin's name: use lower-case letters"),
        (["a" * 41], "can't be a plugin's name: use lower-case letters"),
        (["class"], "can't be a plugin's name: Python or Gatepost uses it"),
        (["none"], "can't be a plugin's name: Python or Gatepost uses it"),
        (["sms"], "can't be a plugin's name: Python or Gatepost uses it"),
        (["csv"], "a plugin csv is installed"),
        (["gatepost-sendgrid"], "a plugin sendgrid is installed"),
        (["aiohttp"], "a distribution aiohttp is installed"),
        (["json"], "a module json is installed"),
        (["acme", "--channels", "fax"], "no channel fax"),
        (["acme", "--channels", ""], "--channels is empty"),
        (["acme", "--transport", "tcp", "--contacts"], "--transport tcp only sends"),
        (["acme", "--transport", "sql", "--channels", "sms"], "--transport sql only finds contacts"),
    ],
)
def test_an_impossible_plugin_is_an_error_and_nothing_is_written(new_plugin, tmp_path, arguments, problem):
    result = new_plugin(*arguments)

    assert result.exit_code != 0
    assert problem in " ".join(re.sub(r"[│\n]", " ", result.output).split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda path: path.symlink_to("nowhere")])
def test_an_existing_folder_is_not_changed(new_plugin, tmp_path, make):
    make(tmp_path / "acme-sms")

    result = new_plugin("acme-sms")

    assert result.exit_code == 1
    assert "exists already" in result.output
    assert [entry.name for entry in tmp_path.iterdir()] == ["acme-sms"]
    assert not (tmp_path / "acme-sms" / "README.md").exists()


@pytest.mark.slow
def test_from_wheels_it_passes_its_tests_and_is_found(environment):
    # One that sends is in test_tutorial_plugin.
    name = "crm-users"
    environment.run("-m", "gatepost", "new-plugin", name, *VARIANTS[name])
    environment.install(environment.folder / name)

    assert name in environment.run("-m", "gatepost", "plugins")
    report = environment.run("-m", "pytest", "-p", "no:cacheprovider", cwd=environment.folder / name)
    (checks,) = re.findall(r"::TestConformance: (\d+) checks", report)
    assert int(checks) >= 40
    assert re.search(r"= \d+ passed in", report)


@pytest.mark.slow
@pytest.mark.parametrize("released", [False, True], ids=["before_a_release", "after_a_release"])
def test_the_workflow_installs_gatepost(environment, folders, released):
    """The step of the workflow installs Gatepost from GATEPOST_SOURCE, or, where that is not set, as pip finds it."""
    workflow = (folders["acme-sms"] / ".github/workflows/test.yml").read_text()
    (step,) = re.findall(r"run: (pip install .*)", workflow)
    source = "" if released else f"git+{Path(__file__).parents[2].as_uri()}"
    printed = subprocess.run(
        ["bash", "-c", step.replace("pip install", "printf '%s\\n'")],
        env={"PATH": os.environ["PATH"], "GATEPOST_SOURCE": source},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()

    assert printed == ([] if released else [source]) + [".[test]"]
    # `environment` stands for a machine on which pip finds Gatepost, and the dependencies of both.
    options = ("--no-index", "--no-build-isolation", "--quiet", "--disable-pip-version-check", "--dry-run")
    environment.run("-m", "pip", "install", *options, *printed, cwd=folders["acme-sms"])
