"""What the tests of several files in deploy/ share."""

import re
from importlib.metadata import entry_points

import pytest

from gatepost.config.toml_file import read_settings
from gatepost.routing.rule_faults import rule_faults


def settings_type(use):
    (plugin,) = entry_points(group="gatepost", name=use)
    return plugin.load().settings_type


@pytest.fixture
def read_config(tmp_path):
    """Return a function that reads an example of a gatepost.toml, in which every secret has a value."""

    def read(example):
        text = re.sub(
            r'"file:[^"]*store-url"', '"postgresql://gatepost@database/gatepost"', example.read_text()
        )
        path = tmp_path / "gatepost.toml"
        path.write_text(re.sub(r'"file:[^"]+"', '"a secret"', text))
        settings, faults = read_settings(path, settings_type)
        assert faults == []
        assert list(rule_faults(settings, ())) == []
        return settings

    return read
