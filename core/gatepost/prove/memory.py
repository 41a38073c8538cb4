"""The memory of a running gateway, read as a core dump would hold it.

What is found there is told and not judged. While a message is sent its recipient is in memory, and CPython does not
overwrite memory that it has freed: nobody can tell from outside whether a copy is still in use. What can be said is how
much a core dump or a swap file of this process would tell.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from gatepost.prove.canaries import Person

_CHUNK = 8 << 20
_OVERLAP = 256
_CORE_LENGTH = 7
"""Characters with which texts begin that are looked for together: a search for each would take a minute."""
_MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) r")


class MemorySearch(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in a process's memory."""

    bytes: int = 0
    """Bytes that were searched; 0: none."""
    people: int = 0
    """The canaries that a message was sent to."""
    found: int = 0
    """Those of them whose address or number stood in memory."""
    why_not: str = ""
    """Why it could not be read."""


def search(pid: int, people: Sequence[Person]) -> MemorySearch:
    """Search the readable memory of a process of our own for the plain addresses and numbers."""
    by_core: dict[bytes, list[tuple[bytes, str]]] = defaultdict(list)
    for person in people:
        for text in filter(None, (person.email, person.phone)):
            by_core[text[:_CORE_LENGTH].encode()].append((text.encode(), person.user))
    found: set[str] = set()
    size = 0
    try:
        for chunk in _chunks(pid):
            size += len(chunk)
            found |= {user for core, texts in by_core.items() for user in _users(chunk, core, texts)}
    except OSError as error:
        return MemorySearch(why_not=f"the system does not allow it ({error.strerror})")
    return MemorySearch(bytes=size, people=len(people), found=len(found))


def _users(chunk: bytes, core: bytes, texts: Sequence[tuple[bytes, str]]) -> Iterator[str]:
    at = chunk.find(core)
    while at >= 0:
        yield from (user for text, user in texts if chunk.startswith(text, at))
        at = chunk.find(core, at + 1)


def _chunks(pid: int) -> Iterator[bytes]:
    process = Path(f"/proc/{pid}")
    maps = (process / "maps").read_text()
    with (process / "mem").open("rb", buffering=0) as memory:
        for line in maps.splitlines():
            match = _MAPPING.match(line)
            if not match or line.endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
                continue
            start, end = (int(text, 16) for text in match.groups())
            while start < end:
                memory.seek(start)
                try:
                    chunk = memory.read(min(_CHUNK, end - start))
                except OSError as error:
                    if line.endswith("]") or "/" in line:
                        # A mapping of a device or of a file that has shrunk.
                        break
                    raise error from None
                if not chunk:
                    break
                yield chunk
                if start + len(chunk) >= end:
                    break
                start += max(len(chunk) - _OVERLAP, 1)
