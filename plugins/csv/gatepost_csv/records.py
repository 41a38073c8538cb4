"""The records of contacts in a few large blocks of memory, and the contact in each record.

The blocks are mapped memory (mmap), because malloc keeps memory that is freed: after a few new files the process would hold
twice the memory that it uses.
"""

import mmap
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from operator import add

from gatepost.model import Contact, Secret, blocked_reason
from gatepost_csv.columns import REQUIRED_COLUMNS, Columns
from gatepost_csv.parser import FIELD_SEPARATOR

_BLOCK_SIZE = 1 << 20
"""Bytes. Only a batch of unusually long rows makes a larger block."""

# UTF-8 never contains this byte.
RECORD_END = b"\xff"

# A position has 43 bits: the number of its block, counted from 1, and in 24 bits the offset of its first byte.
POSITION_BITS = 43
OFFSET_BITS = 24
_OFFSET_MASK = (1 << OFFSET_BITS) - 1


class RecordBlocks:
    """Records in memory, found by their position. Those of one file are in blocks of their own."""

    __slots__ = ("_blocks", "_unfinished", "columns")

    def __init__(self) -> None:
        self._blocks: list[mmap.mmap] = []
        self.columns: list[Columns] = []
        """Those of the file that each block is from: ``columns[(position >> OFFSET_BITS) - 1]``."""
        self._unfinished = bytearray()

    def add(self, records: Sequence[bytes], columns: Columns) -> Iterable[int]:
        """Return the position of each record; ``fields`` can read it after its block is finished.

        Positions increase. ``finish_block`` must come between records with different columns.
        """
        joined = RECORD_END.join(records)
        if len(joined) > _OFFSET_MASK and len(records) > 1:
            half = len(records) // 2
            return [*self.add(records[:half], columns), *self.add(records[half:], columns)]
        if len(self._unfinished) + len(joined) > _BLOCK_SIZE:
            self.finish_block(columns)
        start = len(self._blocks) + 1 << OFFSET_BITS | len(self._unfinished)
        self._unfinished += joined
        self._unfinished += RECORD_END
        # A record begins after the lengths of those before it and one end mark for each of them.
        return map(add, accumulate(map(len, records), initial=start), range(len(records)))

    def finish_block(self, columns: Columns) -> None:
        """Move the unfinished block, of records with these columns, to its final place; call it after the last record."""
        if self._unfinished:
            block = mmap.mmap(-1, len(self._unfinished))
            block.write(self._unfinished)
            self._blocks.append(block)
            self.columns.append(columns)
            self._unfinished.clear()

    def fields(self, position: int) -> list[str]:
        """Return the record's fields, in the order of Columns.select."""
        block = self._blocks[(position >> OFFSET_BITS) - 1]
        start = position & _OFFSET_MASK
        return block[start : block.find(RECORD_END, start)].decode().split(FIELD_SEPARATOR)

    def contact(self, position: int) -> Contact:
        """Return the contact in the record."""
        return contact_of(self.fields(position), self.columns[(position >> OFFSET_BITS) - 1])

    def texts(self) -> Iterator[tuple[Columns, bytes]]:
        """Yield a copy of each block: its records, each with its end mark."""
        for columns, block in zip(self.columns, self._blocks, strict=True):
            yield columns, block[:]

    def release(self, pause: Callable[[], None]) -> None:
        for block in self._blocks:
            block.close()
            pause()


def contact_of(fields: Sequence[str], columns: Columns) -> Contact:
    """Return the contact in the fields of a record, which are in the order of Columns.select."""
    return Contact(
        email=_secret(fields[1]),
        phone=_secret(fields[2]),
        # Without `strict`, which would double the time of a lookup; `blocked` may be left over.
        attributes=dict(zip(columns.attributes, fields[len(REQUIRED_COLUMNS) :])),  # noqa: B905
        blocked=blocked_reason(fields[-1]) if columns.has_blocked else "",
    )


def _secret(text: str) -> Secret | None:
    return Secret(text) if text and not text.isspace() else None
