"""The folder that holds the messages. Every function blocks: call it in a thread."""

import itertools
import os
import secrets
from pathlib import Path

from gatepost.errors import ConfigError, Fault


def prepare(folder: Path) -> None:
    """Create the folder with access for its owner alone; raise ConfigError if it can't be used.

    A folder that exists keeps its mode, because the operator may use it for other files too.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError([Fault("folder", f"can't be created: {error.strerror}")]) from None
    if not is_writable(folder):
        raise ConfigError([Fault("folder", "the user that Gatepost runs as can't write to it")])


def is_writable(folder: Path) -> bool:
    """Tell whether a message can be written into the folder now."""
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def write_message(folder: Path, name: str, suffix: str, content: bytes) -> str:
    """Write a message, all of it or nothing, and return the file's name: ``name`` + ``suffix``.

    A message that is sent twice has two files: the second is called ``name.2`` + ``suffix``. Raises OSError.
    """
    draft = folder / f".{name}.{secrets.token_hex(4)}.tmp"
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123  Path.open takes no mode bits
            file.write(content)
        return _publish(draft, folder / name, suffix)
    finally:
        draft.unlink(missing_ok=True)


def _publish(draft: Path, name: Path, suffix: str) -> str:
    for copy in itertools.count(1):
        target = name.with_name(f"{name.name}{f'.{copy}' if copy > 1 else ''}{suffix}")
        try:
            # A link appears at once, as a renamed file does, but never replaces another file.
            target.hardlink_to(draft)
        except FileExistsError:
            continue
        return target.name
    raise AssertionError  # count() has no end
