"""The README describes every key and every placeholder, and shows a table that works."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from gatepost_http import messages, settings

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
STRUCTS = [
    kind
    for kind in vars(settings).values()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__module__ == settings.__name__
]


@pytest.mark.parametrize(
    "key", sorted({field.encode_name for kind in STRUCTS for field in msgspec.structs.fields(kind)})
)
def test_every_key_is_described(key):
    assert f"`{key}`" in README or f"{key} = " in README


@pytest.mark.parametrize("name", sorted(messages.json_names("sms") | messages.json_names("email")))
def test_every_placeholder_is_described(name):
    assert re.search(rf"^\|.*`{{{name}}}`.*\|$", README, re.MULTILINE)


def test_the_first_table_works(build):
    (block,) = re.findall(r"^```text\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    table = tomllib.loads(block)["plugins"]["acme"]
    assert table.pop("use") == "http"
    warned = {}
    build(table=table, environment={"ACME_TOKEN": "a", "ACME_WEBHOOK_KEY": "b"}, warn=warned.setdefault)
    assert warned == {}
