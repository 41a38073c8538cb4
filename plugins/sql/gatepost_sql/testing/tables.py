"""The table of players that the tests of each database share."""

from collections.abc import Iterable, Mapping

from gatepost.model import Contact

TABLE = """
CREATE TABLE players (
    id {0} NOT NULL PRIMARY KEY, email VARCHAR(3200), phone VARCHAR(400), excluded VARCHAR(100), name VARCHAR(100)
)
"""

INSERT = "INSERT INTO players (id, email, phone, excluded) VALUES ({}, {}, {}, {})"

FIND = (
    "SELECT id AS ext_user_id, email, phone, excluded AS blocked, name AS first_name "
    "FROM players WHERE id = :ext_user_id"
)

FIND_USERS = "SELECT id AS ext_user_id FROM players WHERE email = :email OR phone = :phone"


def rows_of(contacts: Mapping[str, Contact]) -> Iterable[tuple[str | None, ...]]:
    """Yield a row of the table for each user."""
    for ext_user_id, contact in contacts.items():
        email, phone = (value.reveal() if value else None for value in (contact.email, contact.phone))
        yield ext_user_id, email, phone, contact.blocked or None
