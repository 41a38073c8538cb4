"""What `gatepost plugins` shows of plugins and of configurations, also of unusable ones."""

import json
import re
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from gatepost.cli import plugins
from gatepost.plugin_host import discovery


@pytest.fixture
def run_plugins(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")

    def run(text=None, code=0):
        file = tmp_path / "gatepost.toml"
        if text is not None:
            file.write_text(text)
        result = CliRunner().invoke(plugins.command, ["--config", str(file)])
        assert result.exit_code == code
        return result.output

    return run


def row(output, use):
    """Return the cells of one plugin, the lines of each joined."""
    rows = [
        [cell.strip() for cell in re.split("[│┃]", line)[1:-1]]
        for line in output.partition("use")[2].splitlines()
        if "│" in line
    ]
    start = next(place for place, cells in enumerate(rows) if cells[0] == use)
    end = next((p for p, cells in enumerate(rows[start + 1 :], start + 1) if cells[0]), len(rows))
    return [" ".join(filter(None, cells)) for cells in zip(*rows[start:end], strict=True)]


def test_an_installed_plugin_is_shown_with_its_abilities_and_instances(run_plugins):
    output = run_plugins('[plugins.main]\nuse = "sendgrid"\n[plugins.other]\nuse = "sendgrid"\nfault = 1\n')

    assert row(output, "sendgrid")[1].startswith("gatepost-sendgrid ")
    cells = row(output, "sendgrid")
    assert (cells[2], cells[4]) == ("answers a ping sends email takes reports", "main, other")
    assert row(output, "csv")[4] == "–"


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("", "–"),
        ("{}", "its report can't be read"),
        ('{"version": "0.1.0"}', "silver"),
        ('{"version": "0.0.9"}', "silver of version 0.0.9"),
        ('{"kit": 1}', "silver of kit 1"),
    ],
)
def test_the_level_is_that_of_the_report_in_the_package(run_plugins, tmp_path, monkeypatch, content, shown):
    # A name of its own, because Python imports a package once.
    package = tmp_path / f"acme_kit_{abs(hash(content))}"
    package.mkdir()
    (package / "__init__.py").write_text("")
    if content:
        report = {
            "plugin": "acme",
            "distribution": "acme",
            "version": "0.1.0",
            "hooks": ["find_contact"],
            "declared": [],
            "checks": [],
        }
        whole = report | json.loads(content) if content != "{}" else {}
        (package / "conformance.json").write_text(json.dumps(whole))
    monkeypatch.syspath_prepend(tmp_path)
    entry = EntryPoint("acme", f"{package.name}:Acme", "gatepost")._for(
        SimpleNamespace(name="acme", version="0.1.0")
    )
    monkeypatch.setattr(discovery, "installed", lambda: {"acme": entry})
    assert row(run_plugins("[plugins]\n"), "acme")[3] == shown


def test_a_configured_plugin_that_is_not_installed_is_shown(run_plugins):
    cells = row(run_plugins('[plugins.x]\nuse = "senddrig"\n'), "senddrig")

    assert cells[1] == "–"
    assert "no such plugin is installed" in cells[2]
    assert cells[4] == "x"


def test_a_plugin_that_cannot_be_imported_is_shown(run_plugins, monkeypatch):
    broken = EntryPoint("broken", "gatepost.no_such_module:Plugin", "gatepost")
    real = discovery.entry_points

    def entry_points(*, group, name=None):
        return (
            [broken]
            if name == "broken"
            else [*real(group=group), broken]
            if name is None
            else real(group=group, name=name)
        )

    monkeypatch.setattr(discovery, "entry_points", entry_points)

    output = run_plugins("")

    assert "can't be imported (ModuleNotFoundError gatepost.no_such_module)" in row(output, "broken")[2]
    assert row(output, "csv")[2] == "finds contacts finds users by number or address"


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (None, "can't be read (No such file or directory)"),
        ("[plugins", "is not TOML"),
        ("plugins = 3", "has no [plugins.NAME] table"),
        ("", "has no [plugins.NAME] table"),
    ],
)
def test_installed_plugins_are_shown_also_with_an_unusable_configuration(run_plugins, text, note):
    output = run_plugins(text)

    assert note in output
    assert row(output, "csv")[3:] == ["silver", "–"]
