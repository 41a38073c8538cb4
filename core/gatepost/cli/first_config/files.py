"""The files of a first configuration: all of them are written, or none."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path

from gatepost.cli.first_config import toml_text
from gatepost.cli.first_config.draft import Draft
from gatepost.observe.leaves import KeyPath

SECRETS = "secrets"
"""The folder beside the configuration that holds a file for each secret."""

_FOLDER_MODE = 0o700
_FILE_MODE = 0o600


def problem_of_place(path: Path) -> str:
    """Return why no configuration can be written there; empty where one can."""
    folder = path.absolute().parent
    if os.path.lexists(path):
        return f"{path} exists already, and is not changed: edit it, or give another name with --config"
    if not folder.is_dir():
        return f"there is no folder {folder}: create it first"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"{folder} can't be written by this user"
    secrets = folder / SECRETS
    if os.path.lexists(secrets) and (secrets.is_symlink() or not secrets.is_dir()):
        return f"{secrets} is not a folder, and the secrets go there: move it away"
    return ""


def write(draft: Draft) -> dict[KeyPath, Path]:
    """Write the secrets and then the configuration; returns the file of each secret by the key's path.

    Only this user can read them. Raises OSError after removing what was written, also where another program created
    the configuration meanwhile.
    """
    folder = draft.path.absolute().parent
    with _undo_on_failure() as undo:
        files = {}
        for key, secret in draft.plain_secrets():
            _make_folder(folder / SECRETS, undo)
            files[key] = _write_secret(folder / SECRETS, _file_name(key), secret, undo)
        references = {key: f"file:{SECRETS}/{file.name}" for key, file in files.items()}
        text = toml_text.render(draft.with_values(references))
        _publish(draft.path.absolute(), text, undo)
    return files


@contextmanager
def _undo_on_failure() -> Iterator[list[Callable[[], None]]]:
    """Call what the block has collected, the last first, if it fails or is interrupted."""
    undo: list[Callable[[], None]] = []
    try:
        yield undo
    except BaseException:
        for step in reversed(undo):
            with suppress(OSError):
                step()
        raise


def _make_folder(folder: Path, undo: list[Callable[[], None]]) -> None:
    if not folder.is_dir():
        folder.mkdir(_FOLDER_MODE)
        undo.append(folder.rmdir)


def _file_name(key: KeyPath) -> str:
    """Return the name of a secret's file, such as ``smartico-authorization``."""
    words = key[1:] if key[0] in {"clients", "plugins"} else key
    # The first entry of a list needs no number.
    words = tuple(str(word + 1) if isinstance(word, int) else word for word in words if word != 0)
    return re.sub(r"[^A-Za-z0-9]+", "-", "-".join(map(str, words))).strip("-") or "secret"


def _write_secret(folder: Path, name: str, secret: str, undo: list[Callable[[], None]]) -> Path:
    """Write a file that did not exist: with a number in its name where there is one already."""
    for number in count(1):
        file = folder / (name if number == 1 else f"{name}-{number}")
        with suppress(FileExistsError):
            _create(file, secret + "\n", undo)
            return file
    raise AssertionError


def _publish(path: Path, text: str, undo: list[Callable[[], None]]) -> None:
    """Write a file so that it is complete whenever it exists, and never replaces another one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    _create(draft, text, undo)
    undo.append(partial(_remove_same, path, draft))
    os.link(draft, path)
    # The configuration is complete from here on, and nothing is undone any more.
    undo.clear()
    with suppress(OSError):
        draft.unlink()
    for folder in (path.parent / SECRETS, path.parent):
        _sync_folder(folder)


def _remove_same(path: Path, draft: Path) -> None:
    """Remove a file only if it is the draft under another name, and not one of another program."""
    if path.samefile(draft):
        path.unlink()


def _create(path: Path, text: str, undo: list[Callable[[], None]]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
    undo.append(path.unlink)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123  a descriptor
        file.write(text)
        file.flush()
        os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
