"""A million contacts in a few large pieces of memory.

A dict of a million Python objects would take 300 MB and more, the garbage collector would walk it, and
growing or freeing it would stop every thread for longer than the gateway may stand still. So the
contacts lie as bytes in blocks of a megabyte, and a hash table of plain integers says where.

Blocks and table are memory of their own (mmap), because malloc keeps what it was once given: after a few
new files the process would hold twice of what it uses.
"""

import mmap
from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from operator import add

from gatepost.model import Contact, Secret
from gatepost_csv.rows import FIELD_END, NEEDED, Batch, RowProblem, Tally

_BLOCK_SIZE = 1 << 20
"""Bytes. Only a batch of unusually long rows makes a larger block."""

# No byte of UTF-8 is ever this one.
_RECORD_END = b"\xff"

# An entry of the hash table: the upper 20 bits of the id's hash, then 44 bits for the record's place: the
# number of its block, from 1, and the offset of its first byte in there. 0 is an empty entry.
_OFFSET_BITS = 24
_OFFSET = (1 << _OFFSET_BITS) - 1
_PLACE = (1 << 44) - 1
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

    def release(self, breathe: Callable[[], None]) -> None:
        """Called when nobody will ask any more, off the loop: gives the memory back block by block.

        Left to the garbage collector it would go in one piece, and stop all threads for 30 ms a million.
        """
        self._blocks.release(breathe)


class Blocks:
    """Records in memory, found by their place."""

    __slots__ = ("_blocks", "_open")

    def __init__(self) -> None:
        self._blocks: list[mmap.mmap] = []
        self._open = bytearray()

    def add(self, records: Sequence[bytes]) -> Iterable[int]:
        """Returns the place of each record, which ``fields`` knows once its block is closed."""
        joined = _RECORD_END.join(records)
        if len(joined) > _OFFSET and len(records) > 1:
            half = len(records) // 2
            return [*self.add(records[:half]), *self.add(records[half:])]
        if len(self._open) + len(joined) > _BLOCK_SIZE:
            self.close()
        start = len(self._blocks) + 1 << _OFFSET_BITS | len(self._open)
        self._open += joined
        self._open += _RECORD_END
        # The lengths before it, and an end behind each of them.
        return map(add, accumulate(map(len, records), initial=start), range(len(records)))

    def close(self) -> None:
        """Called when a block is full, and once after the last record."""
        if self._open:
            block = mmap.mmap(-1, len(self._open))
            block.write(self._open)
            self._blocks.append(block)
            self._open.clear()

    def fields(self, place: int) -> list[str]:
        """Id, email, phone, attributes."""
        block = self._blocks[(place >> _OFFSET_BITS) - 1]
        start = place & _OFFSET
        return block[start : block.find(_RECORD_END, start)].decode().split(FIELD_END)

    def release(self, breathe: Callable[[], None]) -> None:
        for block in self._blocks:
            block.close()
            breathe()


def load(
    batches: Iterable[Batch], attributes: tuple[str, ...], tally: Tally, breathe: Callable[[], None]
) -> Contacts:
    """Make the rows findable; of rows with the same id the last one counts, and the later ones are noted.

    ``breathe`` is called every one or two milliseconds; what it raises ends the work.
    """
    blocks = Blocks()
    hashes, places, lines = array("q"), array("Q"), array("Q")
    for batch in batches:
        breathe()
        hashes.extend(map(hash, batch.ids))
        places.extend(blocks.add(batch.records))
        lines.extend(batch.lines)
    blocks.close()
    # At most half full, so that a search ends after a step or two. Python seeds its hashes with a random
    # number, so nobody can choose ids that collide.
    table = _zeros(1 << (2 * len(hashes)).bit_length())
    mask = len(table) - 1
    repeated = 0
    for number, (wanted, place) in enumerate(zip(hashes, places, strict=True)):
        if not number % _ROWS_A_SLICE:
            breathe()
        slot = wanted & mask
        while entry := table[slot]:
            if not (entry ^ wanted) & _MARK and _same_id(blocks, entry & _PLACE, place):
                tally.note(RowProblem.REPEATED, lines[number])
                repeated += 1
                break
            slot = (slot + 1) & mask
        table[slot] = wanted & _MARK | place
    return Contacts(blocks, table, attributes, len(hashes) - repeated)


def _same_id(blocks: Blocks, one: int, other: int) -> bool:
    return blocks.fields(one)[0] == blocks.fields(other)[0]


def _zeros(size: int) -> "memoryview[int]":
    return memoryview(mmap.mmap(-1, 8 * size)).cast("Q")


def _secret(text: str) -> Secret | None:
    return Secret(text) if text and not text.isspace() else None
