"""What a program needs that writes a gateway's configuration: TOML, and a port that is free."""

import json
import secrets
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any


def toml_value(value: Any) -> str:
    """Return a value as TOML on one line."""
    if isinstance(value, Mapping):
        items = ", ".join(f"{json.dumps(key)} = {toml_value(item)}" for key, item in value.items())
        return "{ " + items + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    # A string, a number and a boolean of JSON are ones of TOML.
    return json.dumps(value)


def toml_table(name: str, values: Mapping[str, Any]) -> str:
    """Return a table with its values; ``name`` is its path, such as ``plugins.relay``."""
    lines = [f"{json.dumps(key)} = {toml_value(value)}" for key, value in values.items()]
    path = ".".join(map(json.dumps, name.split(".", 1)))
    return "\n".join([f"[{path}]", *lines, ""])


def free_port() -> int:
    """Return a port on which no program listens.

    It is below those that systems give to outgoing connections (from 32768 on): such a port could be taken
    in the seconds until the gateway listens.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
