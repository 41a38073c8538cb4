"""The README describes every key and every placeholder, and shows a table that works."""

import re
import tomllib
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

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


def tables():
    """Return the tables of the README, in order."""
    blocks = re.findall(r"^```text\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return [tomllib.loads(block)["plugins"]["acme"] for block in blocks]


ENVIRONMENT = {name: f"value-of-{name}" for name in re.findall(r"env:(ACME_[A-Z_]+)", README)}


def test_the_first_table_works(build):
    table, _ = tables()
    assert table.pop("use") == "http"
    warned = {}
    build(table=table, environment=ENVIRONMENT, warn=warned.setdefault)
    assert warned == {}


async def test_the_table_with_a_get_works(opened, server, sms, report):
    _, table = tables()
    assert table.pop("use") == "http"
    server.answer, warned = b"OK: 8f1\n", {}
    async with opened(table=table, environment=ENVIRONMENT, warn=warned.setdefault) as plugin:
        message = sms()
        assert (await plugin.send_sms(message)).provider_id == "8f1"
        (request,) = server.requests
        sent = dict(parse_qsl(urlsplit(request.target).query))
        query = f"{urlsplit(sent.pop('dlr_url')).query}&dlr=DELIVRD"
        found = await plugin.parse_webhook(report(method="GET", query=query, headers={"X": ""}))
    assert request.method == "GET"
    assert sent == {"user": "shop", "pass": "value-of-ACME_PASSWORD", "to": "447700900123", "text": "Hello"}
    assert [(event.status, event.message_id) for event in found.events] == [("delivered", message.id)]
    assert warned.keys() == {"request"}
