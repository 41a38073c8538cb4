"""`gatepost new-plugin` writes a complete plugin under another name, or nothing."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gatepost.cli import main

VARIANTS = {
    "acme-sms": ["--channels", "sms"],
    "gatepost-mega-mail": ["--channels", "email"],
    "both-ways": [],
    "crm-users": ["--contacts"],
    "all-parts": ["--contacts", "--channels", "email, sms"],
}


@pytest.fixture
def new_plugin(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        return CliRunner().invoke(main, ["new-plugin", *arguments])

    return run


@pytest.fixture(params=VARIANTS)
def new_folder(request, new_plugin, tmp_path):
    """Return the folder of a new plugin."""
    result = new_plugin(request.param, *VARIANTS[request.param])
    assert result.exit_code == 0, result.output
    return tmp_path / request.param


def texts(folder):
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


def test_nothing_of_the_example_is_left(new_folder):
    for name, text in texts(new_folder).items():
        assert "example" not in name.lower()
        assert "example" not in text.lower(), name
        assert not re.search(r"(#|<!--) </?\w+>", text), name


def test_the_plugin_is_complete(new_folder):
    module = new_folder.name.replace("-", "_")
    use = new_folder.name.removeprefix("gatepost-")
    files = texts(new_folder)

    assert f'{use} = "{module}:' in files["pyproject.toml"]
    assert f'name = "{new_folder.name}"' in files["pyproject.toml"]
    assert {f"{module}/__init__.py", f"{module}/py.typed", "README.md", "tests/conftest.py"} <= files.keys()
    assert ".github/workflows/test.yml" in files
    # Removing a part may leave names that are undefined or unused.
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select", "F,E9", new_folder]
    checked = subprocess.run(ruff, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_only_the_chosen_parts_are_written(new_plugin, tmp_path):
    new_plugin("acme-sms", "--channels", "sms")
    new_plugin("crm-users", "--contacts")
    sms = "".join(texts(tmp_path / "acme-sms").values())
    users = "".join(texts(tmp_path / "crm-users").values())

    assert not (tmp_path / "acme-sms/acme_sms/users.py").exists()
    assert not (tmp_path / "crm-users/crm_users/messages.py").exists()
    assert not (tmp_path / "crm-users/crm_users/reports.py").exists()
    assert "send_sms" in sms
    assert "send_email" not in sms
    assert "find_contact" not in sms
    assert "find_contact" in users
    assert "send_" not in users
    assert "webhook" not in users


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
    ],
)
def test_an_impossible_name_is_an_error_and_nothing_is_written(new_plugin, tmp_path, arguments, problem):
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
