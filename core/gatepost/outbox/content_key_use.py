"""Which keys the stored contents are encrypted with, for an operator who wants to remove one."""

from collections.abc import Mapping

from sqlalchemy import ColumnElement, Connection, func, literal_column, select

from gatepost.content_keys import key_of
from gatepost.outbox.schema import contents


def count_by_key(connection: Connection) -> Mapping[str, int]:
    """Return how many contents are encrypted with each key, by its id; those that are not encrypted by ``""``.

    It reads every content, so it is not for a running gateway.
    """
    # Not with parameters: PostgreSQL would take the two texts for different ones.
    start: ColumnElement[bytes] = literal_column("substr(content, 1, 5)")
    query = select(start, func.count()).select_from(contents).group_by(start)
    counts: dict[str, int] = {}
    for first_bytes, number in connection.execute(query):
        key = key_of(bytes(first_bytes))
        counts[key] = counts.get(key, 0) + number
    return counts
