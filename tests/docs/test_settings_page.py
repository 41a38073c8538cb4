"""The page of settings names each key's default as the code has it."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from gatepost.config import settings
from gatepost.config.routes import Route
from gatepost.config.unsubscribe_page import UnsubscribePage
from gatepost.model import Secret

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "settings.md").read_text()
STRUCTS = {
    **settings.SECTIONS,
    "[routes.CHANNEL]": Route,
    "clients.NAME": settings.Client,
    "clients.NAME.unsubscribe_page": UnsubscribePage,
    "plugins.NAME": settings.InstanceSettings,
}


def documented_defaults(section: str) -> dict[str, str]:
    """Return each key's default as the page shows it, by key."""
    text = PAGE.partition(f"\n## [{section}]\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (.+?) \|", text, re.MULTILINE)
    return {key: default for keys, default in rows for key in re.findall(r"\w+", keys)}


def as_on_the_page(default: object) -> object:
    if isinstance(default, Secret):
        return default.reveal()
    return list(default) if isinstance(default, tuple) else default


@pytest.mark.parametrize("section", STRUCTS)
def test_a_default_on_the_page_is_the_default_in_the_code(section):
    documented = documented_defaults(section)
    assert documented

    defaults = {
        field.name: field.default_factory()
        if field.default_factory is not msgspec.NODEFAULT
        else field.default
        for field in msgspec.structs.fields(STRUCTS[section])
    }
    for key, shown in documented.items():
        if shown == "required":
            assert defaults[key] is msgspec.NODEFAULT, key
        elif shown == "none":
            assert defaults[key] is None, key
        else:
            assert tomllib.loads(f"default = {shown.strip('`')}")["default"] == as_on_the_page(
                defaults[key]
            ), key
