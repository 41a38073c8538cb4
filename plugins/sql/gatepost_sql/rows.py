"""What a row of the operator's query says about a user. Errors name columns, and nothing that stands in them."""

from collections.abc import Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from gatepost.errors import Unavailable
from gatepost.model import Contact, Secret, blocked_reason
from gatepost_sql.ids import IdType
from gatepost_sql.settings import ADDRESSES, BLOCKED, ID, KNOWN_COLUMNS

MAX_ROWS = 20
"""Rows of one user that are read: a loose comparison also finds ids that differ in case."""

Row = Mapping[str, object]
"""The values of a row by the names of its columns."""


class Column(NamedTuple):
    """A column of the result."""

    name: str
    is_text: bool | None = None
    """Whether its values are texts; None where the database does not say."""


class Inspection(NamedTuple):
    """What the database says about the query."""

    id_type: IdType
    columns: Sequence[Column]


def column_names(names: Sequence[str]) -> list[str]:
    """Return the names of columns; those that mean something here in lower case, as some databases return capitals."""
    return [lower if (lower := name.lower()) in KNOWN_COLUMNS else name for name in names]


def inspection_problem(inspection: Inspection) -> str:
    """Return why contacts can't be read from such a result; empty where they can."""
    names = [column.name for column in inspection.columns]
    if repeated := next((name for name in names if names.count(name) > 1), ""):
        return f"returns two columns with the name {repeated}"
    if not any(name in names for name in (*ADDRESSES, BLOCKED)):
        return f"returns none of the columns email, phone and blocked, but {', '.join(names)}"
    if ID not in names:
        return (
            "must return the user's id too, as the column ext_user_id: a database can take different ids for equal "
            "(42 and 0042, ann and ANN), and only the returned id shows whose contact it is"
        )
    for column in inspection.columns:
        if column.name in ADDRESSES and column.is_text is False:
            return (
                f"returns {column.name} as something else than text: a number has lost its plus sign and its first "
                f"zeros. Make it a text as it was meant, such as '+' || CAST({column.name} AS text)"
            )
    return ""


def users_problem(names: Sequence[str]) -> str:
    """Return why users can't be read from a result with these columns; empty where they can."""
    if ID in names:
        return ""
    return (
        f"must return the column ext_user_id, as in SELECT id AS ext_user_id; it returns {', '.join(names)}"
    )


def contact_of(ext_user_id: str, rows: Sequence[Row]) -> Contact | None:
    """Return the contact of a user; None where no row is of exactly this user.

    Raises Unavailable, with ``misconfigured``, for more than one row and for values that can't be used.
    """
    own = [row for row in rows if returned_id(row) == ext_user_id]
    if len(own) > 1:
        raise Unavailable("the query returns several rows for one user", misconfigured=True)
    if len(rows) >= MAX_ROWS:
        raise Unavailable(f"the query returns {MAX_ROWS} rows or more for one user", misconfigured=True)
    return _contact(own[0]) if own else None


def returned_id(row: Row) -> str | None:
    """Return the id in a row; raises Unavailable where the query does not return it."""
    if ID not in row:
        raise Unavailable("the query does not return ext_user_id", misconfigured=True)
    return text_of(ID, row[ID])


def _contact(row: Row) -> Contact:
    attributes = {
        name: text
        for name, value in row.items()
        if name not in KNOWN_COLUMNS and (text := text_of(name, value)) is not None
    }
    return Contact(
        email=_address(row, "email"),
        phone=_address(row, "phone"),
        attributes=attributes,
        blocked=blocked_reason(text_of(BLOCKED, row.get(BLOCKED)) or ""),
    )


def _address(row: Row, name: str) -> Secret | None:
    value = row.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise Unavailable(f"the query returns {name} as something else than text", misconfigured=True)
    return Secret(value) if value.strip() else None


def text_of(name: str, value: object) -> str | None:
    """Return a value of the database as a text, None for NULL; raises Unavailable for one that has no usual text."""
    match value:
        case None | str():
            return value
        case bool():
            return str(value).lower()
        case Decimal():
            return f"{value:f}"
        case int() | float() | UUID():
            return str(value)
        case date() | time():
            return value.isoformat()
        case _:
            raise Unavailable(f"the query returns {name} in a type without a usual text", misconfigured=True)
