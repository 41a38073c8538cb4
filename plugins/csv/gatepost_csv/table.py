"""A million contacts in a few large pieces of memory.

A dict of a million Python objects would take 300 MB and more, the garbage collector would walk it, and
growing or freeing it would stop every thread for longer than the gateway may stand still. So the
contacts lie as bytes in blocks of a megabyte, and a hash table of plain integers says where.

Blocks and table are memory of their own (mmap), because malloc keeps what it was once given: after a few
new files the process would hold twice of what it uses.
"""

import mmap
from array import array
from collections.abc import Callable, Iterable

from gatepost.model import Contact, Secret
from gatepost_csv.rows import FIELD_END, NEEDED, Row, RowProblem, Tally

_BLOCK_BITS = 20
_BLOCK_SIZE = 1 << _BLOCK_BITS

# No byte of UTF-8 is ever this one.
_RECORD_END = b"\xff"

# An entry of the hash table: the upper 24 bits of the id's hash, then 40 bits for where the record is:
# the block's number, from 1, and the offset in it. 0 is an empty place.
_PLACE = (1 << 40) - 1
_MARK = ((1 << 64) - 1) ^ _PLACE

_ROWS_A_SLICE = 2048
"""How many rows are placed between two breaths: one to two milliseconds of work."""


class Contacts:
    """What one file said; never changed once it is made."""

    __slots__ = ("_attributes", "_blocks", "_mask", "_table", "_users")

    def __init__(
        self, blocks: "Blocks", table: "memoryview[int]", attributes: tuple[str, ...], users: int
    ) -> None:
        self._blocks = blocks
        self._table = table
        self._mask = len(table) - 1
        self._attributes = attributes
        self._users = users

    def __len__(self) -> int:
        """How many users there are."""
        return self._users

    def find(self, ext_user_id: str) -> Contact | None:
        """The contact of this user; takes a few microseconds, whatever the id is."""
        wanted = hash(ext_user_id)
        mark = wanted & _MARK
        table, mask = self._table, self._mask
        slot = wanted & mask
        while entry := table[slot]:
            if entry & _MARK == mark:
                fields = self._blocks.fields(entry & _PLACE)
                if fields[0] == ext_user_id:
                    return Contact(
                        email=_secret(fields[1]),
                        phone=_secret(fields[2]),
                        # Of the same length; asking for `strict` would double the time of a lookup.
                        attributes=dict(zip(self._attributes, fields[len(NEEDED) :])),  # noqa: B905
                    )
            slot = (slot + 1) & mask
        return None


class Blocks:
    """Records in memory, found by their place."""

    __slots__ = ("_blocks", "_open")

    def __init__(self) -> None:
        self._blocks: list[mmap.mmap] = []
        self._open = bytearray()

    def add(self, record: bytes) -> int:
        """Returns the record's place, which ``fields`` knows once its block is closed."""
        if len(self._open) >= _BLOCK_SIZE:
            self.close()
        place = len(self._blocks) + 1 << _BLOCK_BITS | len(self._open)
        self._open += record
        self._open += _RECORD_END
        return place

    def close(self) -> None:
        """Called when a block is full, and once after the last record."""
        if self._open:
            block = mmap.mmap(-1, len(self._open))
            block.write(self._open)
            self._blocks.append(block)
            self._open.clear()

    def fields(self, place: int) -> list[str]:
        """Id, email, phone, attributes."""
        block = self._blocks[(place >> _BLOCK_BITS) - 1]
        start = place & (_BLOCK_SIZE - 1)
        return block[start : block.find(_RECORD_END, start)].decode().split(FIELD_END)


def load(
    rows: Iterable[Row], attributes: tuple[str, ...], tally: Tally, breathe: Callable[[], None]
) -> Contacts:
    """Make the rows findable; of rows with the same id the last one counts, and the later ones are noted.

    ``breathe`` is called every few thousand rows of the second half of the work; the first half breathes
    where it gets ``rows`` from. What either raises ends the work.
    """
    blocks = Blocks()
    hashes, places, lines = array("q"), array("Q"), array("Q")
    for line, ext_user_id, record in rows:
        hashes.append(hash(ext_user_id))
        places.append(blocks.add(record))
        lines.append(line)
    blocks.close()
    # At most half full, so that a search ends after a step or two. Python seeds its hashes with a random
    # number, so nobody can choose ids that collide.
    table = _zeros(1 << (2 * len(hashes)).bit_length())
    mask = len(table) - 1
    users = 0
    for number, wanted in enumerate(hashes):
        if not number % _ROWS_A_SLICE:
            breathe()
        mark = wanted & _MARK
        slot = wanted & mask
        while entry := table[slot]:
            if entry & _MARK == mark and _same_id(blocks, entry & _PLACE, places[number]):
                tally.note(RowProblem.REPEATED, lines[number])
                break
            slot = (slot + 1) & mask
        else:
            users += 1
        table[slot] = mark | places[number]
    return Contacts(blocks, table, attributes, users)


def _same_id(blocks: Blocks, one: int, other: int) -> bool:
    return blocks.fields(one)[0] == blocks.fields(other)[0]


def _zeros(size: int) -> "memoryview[int]":
    return memoryview(mmap.mmap(-1, 8 * size)).cast("Q")


def _secret(text: str) -> Secret | None:
    return Secret(text) if text and not text.isspace() else None
