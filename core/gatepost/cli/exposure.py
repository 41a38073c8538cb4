"""What the gateway's files tell every user of the machine; `gatepost check` warns of it."""

import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from gatepost.config.settings import Settings
from gatepost.config.toml_table import MAX_FILE
from gatepost.errors import ConfigError
from gatepost.model import Secret
from gatepost.outbox.store_url import sqlite_path

_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")

_Leaf = tuple[str, Any, Any]
"""Where a value is set, the value, and what stands in the file in its place."""


def exposed(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield each key under which something private can be read by everybody, and what to do."""
    leaves = list(_settings(settings))
    everybody = "every user of this machine can read"
    if (mode := _mode(settings.path)) & stat.S_IROTH and (found := ", ".join(_literal_secrets(leaves))):
        yield "", f"{everybody} it (mode {mode:04o}), and it holds {found}: chmod o-r, or env: or file:"
    for where, path in dict.fromkeys([*_files(settings, leaves), *_database(settings)]):
        if (mode := _mode(path)) & stat.S_IROTH and not _is_public(path):
            yield where, f"{everybody} {path} (mode {mode:04o}): chmod o-r"


def _settings(settings: Settings) -> Iterator[_Leaf]:
    content = tomllib.loads(settings.path.read_text("utf-8"))
    yield from _leaves("server", settings.server, content.get("server"))
    yield from _leaves("store", settings.store, content.get("store"))
    for name, client in settings.clients.items():
        yield from _leaves(f"clients.{name}", client, content["clients"][name])
    for name, instance in settings.plugins.items():
        yield from _leaves(f"plugins.{name}", instance.settings, content["plugins"][name])


def _leaves(where: str, value: Any, written: Any) -> Iterator[_Leaf]:
    """Take a value apart, beside what stands in the file: that may be anything where there is a fault."""
    if isinstance(value, msgspec.Struct):
        value = {field.encode_name: getattr(value, field.name) for field in msgspec.structs.fields(value)}
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _leaves(f"{where}.{key}", one, written.get(key) if isinstance(written, dict) else None)
    elif isinstance(value, tuple | list) and isinstance(written, list):
        for one, beside in zip(value, written, strict=False):
            yield from _leaves(where, one, beside)
    else:
        yield where, value, written


def _literal_secrets(leaves: list[_Leaf]) -> Iterator[str]:
    for where, value, written in leaves:
        if not (isinstance(value, Secret) and value and isinstance(written, str)):
            continue
        # Most URLs of a store hold no password.
        if not written.startswith(("env:", "file:")) and (where != "store.url" or "@" in written):
            yield where


def _files(settings: Settings, leaves: list[_Leaf]) -> Iterator[tuple[str, Path]]:
    """The files that settings name: by a path, or as the place where a secret stands."""
    for where, value, written in leaves:
        if isinstance(value, Path):
            yield where, value
        elif isinstance(value, Secret) and isinstance(written, str) and written.startswith("file:"):
            yield where, settings.path.parent.resolve() / written.removeprefix("file:")


def _database(settings: Settings) -> Iterator[tuple[str, Path]]:
    try:
        path = sqlite_path(settings.store.url, settings.path.parent)
    except ConfigError:
        return
    if path is not None:
        yield "store.url", path


def _mode(path: Path) -> int:
    """The permissions of a file; none for a folder, and for what is not there."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return 0
    return stat.S_IMODE(mode) if stat.S_ISREG(mode) else 0


def _is_public(path: Path) -> bool:
    """Whether the file holds certificates or public keys and nothing else."""
    try:
        with path.open("rb") as file:
            labels = _PEM.findall(file.read(MAX_FILE))
    except OSError:
        return False
    return bool(labels) and not any(b"PRIVATE" in label for label in labels)
