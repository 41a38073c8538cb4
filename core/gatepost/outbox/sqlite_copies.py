"""Copies of erased rows in an SQLite file, and how they are removed.

Deleted data are overwritten (``secure_delete``). But when SQLite moves a row to another page because its own is full, a copy
stays in the unused part of the old page. It is gone when that part is used again, when the page is freed, or when the file is
rewritten.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import Engine

from gatepost.outbox.driver_errors import sqlite_error

MAX_VACUUM_BYTES = 32 * 1_048_576
"""Size of a file that is rewritten at once: that takes about half a second, and all work waits."""


def rewrite_if_small(engine: Engine, file: Path) -> None:
    """Rewrite the file without such copies, unless it is too large. Raises StoreError."""
    if file.stat().st_size > MAX_VACUUM_BYTES:
        return
    # The driver's own connection, because SQLAlchemy's would begin a transaction.
    with closing(engine.raw_connection()) as connection, closing(connection.cursor()) as cursor:
        try:
            cursor.execute("VACUUM")
        except sqlite3.Error as error:
            raise sqlite_error(error) from None
