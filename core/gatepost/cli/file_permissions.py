"""The search for files of the gateway that every user of the machine can read, for ``gatepost check``."""

import re
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gatepost.config.settings import Settings
from gatepost.config.toml_values import MAX_FILE_SIZE
from gatepost.errors import ConfigError
from gatepost.model import Secret
from gatepost.observe.leaves import KeyPath, leaves
from gatepost.outbox.store_url import sqlite_path

_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")


class _Value(NamedTuple):
    key: str
    """The path of the key, without positions in lists."""
    value: Any
    raw: Any
    """The value as the file has it; None where it has none."""


def readable_by_all(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield each key whose file holds something private and can be read by every user, and what to do."""
    values = list(_values(settings))
    intro = "every user of this machine can read"
    if (mode := _mode(settings.path)) & stat.S_IROTH and (found := ", ".join(_literal_secrets(values))):
        yield "", f"{intro} it (mode {mode:04o}), and it holds {found}: chmod o-r, or use env: or file:"
    for key, path in dict.fromkeys([*_files(settings, values), *_database(settings)]):
        if (mode := _mode(path)) & stat.S_IROTH and not _is_public(path):
            yield key, f"{intro} {path} (mode {mode:04o}): chmod o-r"


def _values(settings: Settings) -> Iterator[_Value]:
    content = tomllib.loads(settings.path.read_text("utf-8"))
    tables: dict[KeyPath, Any] = {("server",): settings.server, ("store",): settings.store}
    tables |= {("clients", name): client for name, client in settings.clients.items()}
    tables |= {("plugins", name): instance.settings for name, instance in settings.plugins.items()}
    for table, struct in tables.items():
        for path, value in leaves(struct, table):
            yield _Value(".".join(key for key in path if isinstance(key, str)), value, _raw(content, path))


def _raw(content: Any, path: KeyPath) -> Any:
    """Return what the file has at this path, where a table with a fault may be anything."""
    for key in path:
        if isinstance(key, str):
            content = content.get(key) if isinstance(content, dict) else None
        else:
            content = content[key] if isinstance(content, list) and key < len(content) else None
    return content


def _literal_secrets(values: list[_Value]) -> Iterator[str]:
    for key, value, raw in values:
        if not (isinstance(value, Secret) and value and isinstance(raw, str)):
            continue
        # The URL of most stores has no password.
        if not raw.startswith(("env:", "file:")) and (key != "store.url" or "@" in raw):
            yield key


def _files(settings: Settings, values: list[_Value]) -> Iterator[tuple[str, Path]]:
    """Yield the files that settings name, as a path or as the ``file:`` of a secret."""
    for key, value, raw in values:
        if isinstance(value, Path):
            yield key, value
        elif isinstance(value, Secret) and isinstance(raw, str) and raw.startswith("file:"):
            yield key, settings.path.parent.resolve() / raw.removeprefix("file:")


def _database(settings: Settings) -> Iterator[tuple[str, Path]]:
    try:
        path = sqlite_path(settings.store.url, settings.path.parent)
    except ConfigError:
        return
    if path is not None:
        yield "store.url", path


def _mode(path: Path) -> int:
    """Return the permissions of a file; 0 for a folder and for a file that does not exist."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return 0
    return stat.S_IMODE(mode) if stat.S_ISREG(mode) else 0


def _is_public(path: Path) -> bool:
    """Return whether a file holds certificates or public keys only."""
    try:
        with path.open("rb") as file:
            labels = _PEM.findall(file.read(MAX_FILE_SIZE))
    except OSError:
        return False
    return bool(labels) and not any(b"PRIVATE" in label for label in labels)
