"""The content of a file, compressed with gzip or not."""

import gzip
import io
import zlib
from typing import BinaryIO

from gatepost_csv.bad_file import BadFile

MAX_RATIO = 50
"""By how much gzip may have compressed a file. Contacts come to 3 to 20, and what is made to fill the memory to 1,000."""

MIN_LIMIT = 1 << 26
"""Bytes that any compressed file may have after decompression, whatever the ratio."""

_GZIP = b"\x1f\x8b"
_LINE_BREAKS = b"\r\n"


class Content(io.RawIOBase):
    """The bytes of a file after decompression. A read raises BadFile where they can't be right."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        """Read a file of this size from its beginning; the first bytes, not its name, say whether it is compressed."""
        is_compressed = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
        self._file = gzip.GzipFile(fileobj=file, mode="rb") if is_compressed else file
        self._limit = max(MIN_LIMIT, MAX_RATIO * size) if is_compressed else None
        self._count = 0
        self.ends_with_line_break = False
        """Whether the last byte that was read is a line break."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            count = self._file.readinto(buffer)  # type: ignore[union-attr]
        except EOFError:
            raise BadFile("the gzip data end too early; the export may not be finished") from None
        except (gzip.BadGzipFile, zlib.error):
            raise BadFile("the gzip data are damaged") from None
        if count:
            self.ends_with_line_break = buffer[count - 1] in _LINE_BREAKS
            self._count += count
            if self._limit is not None and self._count > self._limit:
                raise BadFile(
                    f"more than {self._limit:,} bytes after decompression, over {MAX_RATIO} times as many as before: no "
                    "contacts can be compressed so much"
                )
        return int(count)
