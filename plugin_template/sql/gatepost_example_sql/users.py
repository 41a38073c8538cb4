"""User lookups: the query, and what its row means. They run in threads."""

from gatepost.model import Contact, Secret
from sqlalchemy import Engine, Row, text
from sqlalchemy.exc import DataError

_CONTACT = text("SELECT ext_user_id, email, phone, blocked FROM users WHERE ext_user_id = :ext_user_id")


def find(engine: Engine, ext_user_id: str) -> Contact | None:
    """Return the contact of a user; None where there is none. Raises SQLAlchemyError where the database can't answer."""
    try:
        with engine.connect() as connection:
            row = connection.execute(_CONTACT, {"ext_user_id": ext_user_id}).one_or_none()
    except (DataError, UnicodeError):
        # The database can't store such an id, so no user has it.
        return None
    # Some databases compare texts without regard to case; another user's contact would go to the wrong person.
    return contact(row) if row and row.ext_user_id == ext_user_id else None


def contact(row: "Row[tuple[str, str | None, str | None, str | None]]") -> Contact:
    """Return the contact in a row."""
    return Contact(
        email=Secret(row.email) if row.email else None,
        phone=Secret(row.phone) if row.phone else None,
        blocked=row.blocked or "",
    )


def check(engine: Engine) -> None:
    """Run the query once. Raises SQLAlchemyError where it fails."""
    find(engine, "")
