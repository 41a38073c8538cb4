"""What `gatepost plugins` shows, also of what can't be used."""

import re
from importlib.metadata import EntryPoint

import pytest
from click.testing import CliRunner

from gatepost.cli import plugins
from gatepost.plugin_host import discovery


@pytest.fixture
def shown(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")

    def show(text=None, code=0):
        file = tmp_path / "gatepost.toml"
        if text is not None:
            file.write_text(text)
        result = CliRunner().invoke(plugins.command, ["--config", str(file)])
        assert result.exit_code == code
        return result.output

    return show


def row(output, use):
    """The cells of one plugin, each of its lines joined."""
    rows = [
        [cell.strip() for cell in re.split("[│┃]", line)[1:-1]]
        for line in output.partition("use")[2].splitlines()
        if "│" in line
    ]
    start = next(place for place, cells in enumerate(rows) if cells[0] == use)
    end = next((p for p, cells in enumerate(rows[start + 1 :], start + 1) if cells[0]), len(rows))
    return [" ".join(filter(None, cells)) for cells in zip(*rows[start:end], strict=True)]


def test_what_is_installed_says_what_it_can(shown):
    output = shown('[plugins.main]\nuse = "sendgrid"\n[plugins.other]\nuse = "sendgrid"\nfault = 1\n')

    assert row(output, "sendgrid")[1].startswith("gatepost-sendgrid ")
    assert row(output, "sendgrid")[2:] == [
        "sends email hears reports answers a ping",
        "main, other",
    ]
    assert row(output, "csv")[2:] == ["finds contacts", "–"]


def test_what_is_configured_and_not_installed_is_said(shown):
    cells = row(shown('[plugins.x]\nuse = "senddrig"\n'), "senddrig")

    assert cells[1] == "–"
    assert "no such plugin is installed" in cells[2]
    assert cells[3] == "x"


def test_what_can_not_be_imported_is_said(shown, monkeypatch):
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

    output = shown("")

    assert "can't be imported (ModuleNotFoundError gatepost.no_such_module)" in row(output, "broken")[2]
    assert row(output, "csv")[2] == "finds contacts"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "can't be read (No such file or directory)"),
        ("[plugins", "is not TOML"),
        ("plugins = 3", "has no [plugins.NAME] table"),
        ("", "has no [plugins.NAME] table"),
    ],
)
def test_a_configuration_that_cannot_be_used_hinders_nothing(shown, text, said):
    output = shown(text)

    assert said in output
    assert row(output, "csv")[3] == "–"
