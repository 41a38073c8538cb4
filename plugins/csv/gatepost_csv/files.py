"""Which files there are, and whether one of them has changed."""

import errno
import fnmatch
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gatepost_csv.bad_file import BadFile

MAX_FILES = 1000
"""Files of one source. Each takes memory maps of its own, of which a process can have 65,000."""

_PATTERN_CHARACTERS = frozenset("*?[")
_IN_FOLDER = ("*.csv", "*.csv.gz")
"""The files of a folder: not those that are being written under another name."""


class Fingerprint(NamedTuple):
    """The file attributes that change when a file is replaced, rewritten in place or appended to."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int
    """Also changes when a rewrite keeps the size and resets the modification time."""


Fingerprints = tuple[tuple[Path, Fingerprint], ...]
"""Those of all files, in the order of their names."""


def find_files(path: Path) -> Sequence[Path]:
    """Return the files that the setting ``path`` means, in the order of their names.

    That is one file; or those of a folder that end in .csv or .csv.gz; or those whose name matches a pattern. Blocks: call
    it in a thread. Raises OSError, also where there is none, and BadFile where there are too many.
    """
    patterns: Sequence[str]
    if _PATTERN_CHARACTERS.intersection(path.name):
        folder, patterns = path.parent, (path.name,)
    elif path.is_dir():
        folder, patterns = path, _IN_FOLDER
    else:
        return [path]
    # As in a shell, a name that begins with a dot matches no pattern that does not.
    names = sorted(
        name
        for name in os.listdir(folder)  # noqa: PTH208  names are enough
        if any(
            fnmatch.fnmatchcase(name, one) and (one.startswith(".") or not name.startswith("."))
            for one in patterns
        )
    )
    if not names:
        raise FileNotFoundError(errno.ENOENT, f"no file is named {' or '.join(patterns)}", str(folder))
    if len(names) > MAX_FILES:
        raise BadFile(f"{len(names):,} files, more than {MAX_FILES:,}")
    return [folder / name for name in names]


def read_fingerprints(path: Path) -> Fingerprints | None:
    """Return the fingerprints of all files; None if there is none, too many, or one that can't be found.

    Blocks: call it in a thread.
    """
    try:
        return tuple((file, fingerprint(file.stat())) for file in find_files(path))
    except (OSError, BadFile):
        return None


def fingerprint(status: os.stat_result) -> Fingerprint:
    """Return the fingerprint in the status of a file."""
    return Fingerprint(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
