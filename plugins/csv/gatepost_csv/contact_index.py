"""An index of a million contacts in a few large blocks of memory.

A dict of a million Python objects would take 300 MB and more. The garbage collector would traverse it, and
to grow or free it would stop every thread for longer than the gateway may pause. So the contacts are stored
as bytes in blocks of a megabyte, and a hash table of plain integers holds their positions.

Blocks and table are mapped memory (mmap), because malloc keeps memory that is freed: after a few new files
the process would hold twice the memory that it uses.
"""

import mmap
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from operator import add

from gatepost.model import BLOCKED, Channel, Contact, Secret
from gatepost_csv.parser import FIELD_SEPARATOR, REQUIRED_COLUMNS, Batch, Columns, ProblemCounts, RowProblem
from gatepost_csv.spellings import Spellings, reduce

_BLOCK_SIZE = 1 << 20
"""Bytes. Only a batch of unusually long rows makes a larger block."""

# UTF-8 never contains this byte.
_RECORD_END = b"\xff"

# An entry of the hash table holds the upper 20 bits of the id's hash, and below them 44 bits for the record's
# position: the number of its block, counted from 1, and the offset of its first byte. 0 is an empty entry.
_OFFSET_BITS = 24
_OFFSET_MASK = (1 << _OFFSET_BITS) - 1
_POSITION_MASK = (1 << 44) - 1
_HASH_MASK = ((1 << 64) - 1) ^ _POSITION_MASK

_NOT_BLOCKED = frozenset({"", "0", "false", "no"})
_BLOCKED_WITHOUT_REASON = frozenset({"1", "true", "yes"})

_MAX_ID_LENGTH = 512
"""Characters of the longest ext_user_id that Smartico sends."""

_SLICE_ROWS = 2048
"""Rows that are put into the table between two pauses: one to two milliseconds of work."""


class ContactIndex:
    """The contacts of one file, found by their id; never changed after it is built."""

    __slots__ = ("_attributes", "_blocks", "_phone_is_last", "_slot_mask", "_table", "_users", "has_blocked")

    def __init__(
        self, blocks: "RecordBlocks", table: "memoryview[int]", columns: Columns, users: int
    ) -> None:
        self._blocks = blocks
        self._table = table
        self._slot_mask = len(table) - 1
        self._attributes = columns.attributes
        self._phone_is_last = not (columns.attributes or columns.has_blocked)
        self.has_blocked = columns.has_blocked
        """Whether the file says which users must not be contacted."""
        self._users = users

    def __len__(self) -> int:
        """Return the number of users."""
        return self._users

    def find(self, ext_user_id: str) -> Contact | None:
        """Return the contact of this user; takes a few microseconds for any id."""
        fields = self._fields(ext_user_id)
        if fields is None:
            return None
        return Contact(
            email=_secret(fields[1]),
            phone=_secret(fields[2]),
            # Without `strict`, which would double the time of a lookup; `blocked` may be left over.
            attributes=dict(zip(self._attributes, fields[len(REQUIRED_COLUMNS) :])),  # noqa: B905
            blocked=_blocked(fields[-1]) if self.has_blocked else "",
        )

    def _fields(self, ext_user_id: str) -> list[str] | None:
        id_hash = hash(ext_user_id)
        hash_bits = id_hash & _HASH_MASK
        table, slot_mask = self._table, self._slot_mask
        slot = id_hash & slot_mask
        while entry := table[slot]:
            if entry & _HASH_MASK == hash_bits:
                fields = self._blocks.fields(entry & _POSITION_MASK)
                if fields[0] == ext_user_id:
                    return fields
            slot = (slot + 1) & slot_mask
        return None

    def search(self, wanted: Sequence[Spellings], limit: int, pause: Callable[[], None]) -> list[list[str]]:
        """Return the ids of up to ``limit`` users for each of these addresses and numbers.

        It reads every contact, which takes a tenth of a second per million; call it in a thread. It calls ``pause`` every
        few milliseconds. Raises ValueError when the memory is freed meanwhile.
        """
        found: list[dict[str, None]] = [{} for _ in wanted]
        for block in self._blocks.texts():
            reduced = {channel: reduce(channel, block) for channel in {one.channel for one in wanted}}
            for one, ids in zip(wanted, found, strict=True):
                for ext_user_id in self._candidates(one, block, reduced[one.channel]):
                    # Not of a row that a later one replaces.
                    if (
                        len(ids) < limit
                        and len(ext_user_id) <= _MAX_ID_LENGTH
                        and self._has(ext_user_id, one)
                    ):
                        ids[ext_user_id] = None
                pause()
        return [list(ids) for ids in found]

    def _candidates(self, wanted: Spellings, block: bytes, reduced: bytes) -> Iterator[str]:
        """Yield the ids of the records in which a field ends as the wanted one does."""
        records: list[bytes] = []
        is_last_field = wanted.channel is Channel.SMS and self._phone_is_last
        mark = _RECORD_END if is_last_field else FIELD_SEPARATOR.encode()
        for end in (one + mark for one in wanted.ends):
            number = last = 0
            at = reduced.find(end)
            while at >= 0:
                records = records or block.split(_RECORD_END)
                number += reduced.count(_RECORD_END, last, at)
                yield records[number].decode().partition(FIELD_SEPARATOR)[0]
                last, at = at, reduced.find(end, at + 1)

    def _has(self, ext_user_id: str, wanted: Spellings) -> bool:
        fields = self._fields(ext_user_id)
        if fields is None:
            return False
        field = fields[1] if wanted.channel is Channel.EMAIL else fields[2]
        return reduce(wanted.channel, field.encode()) in wanted.whole

    def release(self, pause: Callable[[], None]) -> None:
        """Free the memory block by block; call it in a thread, after the last lookup.

        The garbage collector would free it in one piece, and stop all threads for 30 ms per million contacts.
        """
        self._blocks.release(pause)


class RecordBlocks:
    """Records in memory, found by their position."""

    __slots__ = ("_blocks", "_unfinished")

    def __init__(self) -> None:
        self._blocks: list[mmap.mmap] = []
        self._unfinished = bytearray()

    def add(self, records: Sequence[bytes]) -> Iterable[int]:
        """Return the position of each record; ``fields`` can read it after its block is finished."""
        joined = _RECORD_END.join(records)
        if len(joined) > _OFFSET_MASK and len(records) > 1:
            half = len(records) // 2
            return [*self.add(records[:half]), *self.add(records[half:])]
        if len(self._unfinished) + len(joined) > _BLOCK_SIZE:
            self.finish_block()
        start = len(self._blocks) + 1 << _OFFSET_BITS | len(self._unfinished)
        self._unfinished += joined
        self._unfinished += _RECORD_END
        # A record begins after the lengths of those before it and one end mark for each of them.
        return map(add, accumulate(map(len, records), initial=start), range(len(records)))

    def finish_block(self) -> None:
        """Move the unfinished block to its final place; call it once more after the last record."""
        if self._unfinished:
            block = mmap.mmap(-1, len(self._unfinished))
            block.write(self._unfinished)
            self._blocks.append(block)
            self._unfinished.clear()

    def fields(self, position: int) -> list[str]:
        """Return the record's fields, in the order of Columns.select."""
        block = self._blocks[(position >> _OFFSET_BITS) - 1]
        start = position & _OFFSET_MASK
        return block[start : block.find(_RECORD_END, start)].decode().split(FIELD_SEPARATOR)

    def texts(self) -> Iterator[bytes]:
        """Yield a copy of each block: its records, each with its end mark."""
        for block in self._blocks:
            yield block[:]

    def release(self, pause: Callable[[], None]) -> None:
        for block in self._blocks:
            block.close()
            pause()


def build_index(
    batches: Iterable[Batch], columns: Columns, problems: ProblemCounts, pause: Callable[[], None]
) -> ContactIndex:
    """Return an index of the rows; the last of several rows with the same id counts.

    Each row that replaces an earlier one is counted in ``problems``. It calls ``pause`` every one or two
    milliseconds; an exception from ``pause`` ends the work.
    """
    blocks = RecordBlocks()
    hashes, positions, lines = array("q"), array("Q"), array("Q")
    for batch in batches:
        pause()
        hashes.extend(map(hash, batch.ids))
        positions.extend(blocks.add(batch.records))
        lines.extend(batch.lines)
    blocks.finish_block()
    # At most half full, so that a search takes one or two steps. Python seeds its hashes with a random number,
    # so that ids that collide can not be chosen.
    table = _zeros(1 << (2 * len(hashes)).bit_length())
    slot_mask = len(table) - 1
    repeated = 0
    for number, (id_hash, position) in enumerate(zip(hashes, positions, strict=True)):
        if not number % _SLICE_ROWS:
            pause()
        slot = id_hash & slot_mask
        while entry := table[slot]:
            if not (entry ^ id_hash) & _HASH_MASK and _same_id(blocks, entry & _POSITION_MASK, position):
                problems.add(RowProblem.REPEATED, lines[number])
                repeated += 1
                break
            slot = (slot + 1) & slot_mask
        table[slot] = id_hash & _HASH_MASK | position
    return ContactIndex(blocks, table, columns, len(hashes) - repeated)


def _same_id(blocks: RecordBlocks, position: int, other_position: int) -> bool:
    return blocks.fields(position)[0] == blocks.fields(other_position)[0]


def _zeros(size: int) -> "memoryview[int]":
    return memoryview(mmap.mmap(-1, 8 * size)).cast("Q")


def _secret(text: str) -> Secret | None:
    return Secret(text) if text and not text.isspace() else None


def _blocked(text: str) -> str:
    """Return the reason in a field of the column `blocked`; empty for a user who may be contacted."""
    reason = text.strip()
    word = reason.lower()
    if word in _NOT_BLOCKED:
        return ""
    return BLOCKED if word in _BLOCKED_WITHOUT_REASON else reason
