"""The folder that plays the mailbox and the handset. Everything here blocks: call it in a thread."""

import itertools
import os
import secrets
from pathlib import Path

from gatepost.errors import ConfigError, Fault


def prepare(folder: Path) -> None:
    """Make the folder, for its owner alone, where there is none; raises ConfigError where it is no use.

    One that is there keeps its mode: it may be anything of the operator's.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError([Fault("folder", f"can't be made: {error.strerror}")]) from None
    if not usable(folder):
        raise ConfigError([Fault("folder", "can't be written to by the user that Gatepost runs as")])


def usable(folder: Path) -> bool:
    """Whether a message could be put there now."""
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def put(folder: Path, name: str, suffix: str, content: bytes) -> str:
    """Write one message, whole or not at all, and return the file's name: ``name`` + ``suffix``.

    A message that was sent twice shall be seen twice: the second is called ``name.2`` + ``suffix``.
    Raises OSError.
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
            # A link appears at once like a rename, but never takes the place of another file.
            target.hardlink_to(draft)
        except FileExistsError:
            continue
        return target.name
    raise AssertionError  # count() has no end
