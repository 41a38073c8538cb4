"""`gatepost config` prints every key, in readable lines, with its real default."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from gatepost import wire
from gatepost.cli import config
from gatepost.config import settings
from gatepost.config.routes import Route
from gatepost.config.toml_file import read_settings
from gatepost.plugin_host import discovery

STRUCTS = {
    **settings.SECTIONS,
    "clients": settings.Client,
    "instance": settings.InstanceSettings,
    **{f"plugins.{use}": discovery.settings_type(use) for use in discovery.installed()},
}


@pytest.fixture(scope="module")
def printed():
    return CliRunner().invoke(config.command).output


def with_every_key(printed: str) -> str:
    """Return the file with every key active that is commented out."""
    return re.sub(r"^#(?! |$)", "", printed, flags=re.MULTILINE)


@pytest.mark.parametrize("where", STRUCTS)
def test_every_setting_has_a_description(where):
    core = {"name", "use", "settings"} if where == "instance" else set()

    described = {key.name: key.description for key in config.keys(STRUCTS[where]) if key.name not in core}

    assert [name for name, text in described.items() if not text or text.startswith("(")] == []


def test_the_printed_file_sets_only_the_secret_of_a_client(printed):
    assert tomllib.loads(printed) == {
        **{section: {} for section in settings.SECTIONS},
        "clients": {"smartico": {"authorization": ["env:GATEPOST_SECRET"]}},
    }


def test_the_example_of_a_rule_has_every_key_in_the_type_that_it_takes(printed):
    block = printed.partition("# [[routes.sms]]\n")[2].partition("\n\n")[0]
    example = tomllib.loads(re.sub("^# ", "", block, flags=re.MULTILINE))

    assert msgspec.convert(example, Route)
    assert example.keys() == set(Route.__struct_fields__)


def test_with_every_key_active_the_file_has_no_fault(printed, tmp_path, monkeypatch):
    text = with_every_key(printed)
    for name in re.findall(r'"env:(\w+)"', text):
        monkeypatch.setenv(name, "a secret")
    file = tmp_path / "gatepost.toml"
    file.write_text(re.sub(r'"file:[^"]+"', '"the content of a file"', text))

    found, faults = read_settings(file, discovery.settings_type)

    assert faults == []
    assert found is not None
    assert found.plugins.keys() == discovery.installed().keys()
    for section, struct_type in settings.SECTIONS.items():
        assert tomllib.loads(text)[section].keys() == {
            field.encode_name for field in msgspec.structs.fields(struct_type)
        }


def test_the_printed_defaults_are_the_real_ones(printed, tmp_path, monkeypatch):
    monkeypatch.setenv("GATEPOST_SECRET", "a secret")
    as_printed, every = tmp_path / "as_printed.toml", tmp_path / "every.toml"
    as_printed.write_text(printed)
    every.write_text(re.sub(r"^#(\w+ = .*)$", r"\1", printed.partition("#[plugins")[0], flags=re.MULTILINE))
    monkeypatch.setenv("SMARTICO_API_KEY", "a key")

    one, _ = read_settings(as_printed, discovery.settings_type)
    other, faults = read_settings(every, discovery.settings_type)

    assert faults == []
    assert one is not None
    assert other is not None
    for section in settings.SECTIONS:
        printed_as_example = getattr(other, section)
        paths = {"certificate", "key", "admin_socket"} & set(printed_as_example.__struct_fields__)
        printed_as_example = msgspec.structs.replace(printed_as_example, **dict.fromkeys(paths))
        assert getattr(one, section) == printed_as_example


def test_lines_are_short_and_have_no_trailing_space(printed):
    assert max(map(len, printed.splitlines())) <= config.LINE_WIDTH
    assert not [line for line in printed.splitlines() if line != line.rstrip()]


def test_a_plugin_that_cannot_be_used_is_named_and_the_others_are_printed(monkeypatch):
    class Broken:
        pass

    monkeypatch.setattr(discovery, "installed", lambda: {"broken": Broken(), "csv": Broken()})

    text = CliRunner().invoke(config.command).output

    assert "# The plugin broken can't be used: no such plugin is installed" in text
    assert '#use = "csv"' in text
    tomllib.loads(with_every_key(text))


def test_fields_of_every_type_are_printed_as_toml(tmp_path):
    class Example(msgspec.Struct, frozen=True):
        must: str
        number: float = 0.25
        large: int = 1_048_576
        words: tuple[str, ...] = ("a", 'b"c')
        maybe: Path | None = None
        flag: bool = True
        login: wire.Login | None = None

    written = "\n".join(f"{key.name} = {key.value}" for key in config.keys(Example, "plugins.acme-main"))

    assert tomllib.loads(written) == {
        "must": "…",
        "number": 0.25,
        "large": 1048576,
        "words": ["a", 'b"c'],
        "maybe": "./maybe",
        "flag": True,
        "login": {"username": "…", "password": "env:ACME_MAIN_LOGIN_PASSWORD"},
    }
