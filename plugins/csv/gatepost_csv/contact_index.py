"""An index of a million contacts in a few large blocks of memory.

A dict of a million Python objects would take 300 MB and more. The garbage collector would traverse it, and
to grow or free it would stop every thread for longer than the gateway may pause. So the contacts are stored
as bytes in blocks of a megabyte, and a hash table of plain integers holds their positions.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from gatepost.errors import Unavailable
from gatepost.model import Channel, Contact
from gatepost_csv.columns import Columns
from gatepost_csv.parser import FIELD_SEPARATOR
from gatepost_csv.records import OFFSET_BITS, POSITION_BITS, RECORD_END, RecordBlocks, contact_of
from gatepost_csv.spellings import Spellings, reduce

# An entry of the hash table holds the upper 20 bits of the id's hash, a bit that says whether files contradict each other
# about the user, and the record's position. 0 is an empty entry.
POSITION_MASK = (1 << POSITION_BITS) - 1
CONFLICT = 1 << POSITION_BITS
HASH_MASK = ((1 << 64) - 1) ^ (POSITION_MASK | CONFLICT)

_MAX_ID_LENGTH = 512
"""Characters of the longest ext_user_id that Smartico sends."""


class ContactIndex:
    """The contacts of one set of files, found by their id; never changed after it is built."""

    __slots__ = ("_blocked", "_blocks", "_columns", "_slot_mask", "_table", "_users")

    def __init__(
        self, blocks: RecordBlocks, table: "memoryview[int]", blocked: Mapping[str, str], users: int
    ) -> None:
        """``blocked`` has the reasons of users whom a file blocks and another one contradicts, by their id."""
        self._blocks = blocks
        self._columns = blocks.columns
        self._blocked = blocked
        self._table = table
        self._slot_mask = len(table) - 1
        self._users = users

    def __len__(self) -> int:
        """Return the number of users."""
        return self._users

    def find(self, ext_user_id: str) -> Contact | None:
        """Return the contact of this user; takes a few microseconds for any id.

        Raises Unavailable if two files contradict each other about the user, and none blocks the user.
        """
        found = self._record(ext_user_id)
        if found is None:
            return None
        entry, fields = found
        if entry & CONFLICT:
            if reason := self._blocked.get(ext_user_id):
                return Contact(blocked=reason)
            raise Unavailable("two contacts files contradict each other about this user: see gatepost status")
        return contact_of(fields, self._columns[((entry & POSITION_MASK) >> OFFSET_BITS) - 1])

    def _record(self, ext_user_id: str) -> tuple[int, list[str]] | None:
        """Return the entry of the user, and the fields of its record."""
        id_hash = hash(ext_user_id)
        hash_bits = id_hash & HASH_MASK
        table, slot_mask = self._table, self._slot_mask
        slot = id_hash & slot_mask
        while entry := table[slot]:
            if entry & HASH_MASK == hash_bits:
                fields = self._blocks.fields(entry & POSITION_MASK)
                if fields[0] == ext_user_id:
                    return entry, fields
            slot = (slot + 1) & slot_mask
        return None

    def search(self, wanted: Sequence[Spellings], limit: int, pause: Callable[[], None]) -> list[list[str]]:
        """Return the ids of up to ``limit`` users for each of these addresses and numbers.

        A user about whom two files contradict each other has the addresses and numbers of both. It reads every contact, which
        takes a tenth of a second per million; call it in a thread. It calls ``pause`` every few milliseconds. Raises ValueError
        when the memory is freed meanwhile.
        """
        found: list[dict[str, None]] = [{} for _ in wanted]
        for columns, block in self._blocks.texts():
            reduced = {channel: reduce(channel, block) for channel in {one.channel for one in wanted}}
            for one, ids in zip(wanted, found, strict=True):
                for fields in _candidates(one, block, reduced[one.channel], columns):
                    # Not of a row that a later one replaces.
                    if (
                        len(ids) < limit
                        and len(fields[0]) <= _MAX_ID_LENGTH
                        and _has(fields, one)
                        and self._counts(fields, one)
                    ):
                        ids[fields[0]] = None
                pause()
        return [list(ids) for ids in found]

    def _counts(self, fields: Sequence[str], wanted: Spellings) -> bool:
        """Return whether a record that has the wanted address counts: it does not if a later row replaces it."""
        found = self._record(fields[0])
        return found is not None and (bool(found[0] & CONFLICT) or _has(found[1], wanted))

    def release(self, pause: Callable[[], None]) -> None:
        """Free the memory block by block; call it in a thread, after the last lookup.

        The garbage collector would free it in one piece, and stop all threads for 30 ms per million contacts.
        """
        self._blocks.release(pause)


def _candidates(wanted: Spellings, block: bytes, reduced: bytes, columns: Columns) -> Iterator[list[str]]:
    """Yield the fields of the records in which a field ends as the wanted one does."""
    records: list[bytes] = []
    phone_is_last = not (columns.attributes or columns.has_blocked)
    is_last_field = wanted.channel is Channel.SMS and phone_is_last
    mark = RECORD_END if is_last_field else FIELD_SEPARATOR.encode()
    for end in (one + mark for one in wanted.ends):
        number = last = 0
        at = reduced.find(end)
        while at >= 0:
            records = records or block.split(RECORD_END)
            number += reduced.count(RECORD_END, last, at)
            yield records[number].decode().split(FIELD_SEPARATOR)
            last, at = at, reduced.find(end, at + 1)


def _has(fields: Sequence[str], wanted: Spellings) -> bool:
    field = fields[1] if wanted.channel is Channel.EMAIL else fields[2]
    return reduce(wanted.channel, field.encode()) in wanted.whole
