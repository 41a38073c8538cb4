"""Which texts from Smartico can be the id of a user, by the type that the database compares them with.

An id is compared character by character: ``0042`` and `` 42`` are not the user 42. A text that no value of the type has as
its one spelling belongs to no user, and the database is not asked.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,999}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


class IdType(NamedTuple):
    """How a text becomes the value of the parameter ``ext_user_id``."""

    value: Callable[[str], object | None]
    """Returns the value; None for a text that is no user's id."""
    sample: object
    """A value for a look at the plan."""
    name: str = ""
    """The database's name of the type, where it matters."""


def _text(ext_user_id: str) -> object | None:
    storable = "\0" not in ext_user_id and not any("\ud800" <= char <= "\udfff" for char in ext_user_id)
    return ext_user_id if storable else None


def _integer(bits: int, *, unsigned: bool = False) -> Callable[[str], object | None]:
    """Return the function for integers of this size; with ``unsigned``, for those without a sign as well."""
    least, limit = -(1 << (bits - 1)), 1 << (bits if unsigned else bits - 1)

    def value(ext_user_id: str) -> object | None:
        if not _INTEGER.fullmatch(ext_user_id) or len(ext_user_id) > bits:
            return None
        number = int(ext_user_id)
        return number if least <= number < limit else None

    return value


def _decimal(ext_user_id: str) -> object | None:
    return Decimal(ext_user_id) if _INTEGER.fullmatch(ext_user_id) else None


def _uuid(ext_user_id: str) -> object | None:
    return UUID(ext_user_id) if _UUID.fullmatch(ext_user_id) else None


TEXT = IdType(_text, "gatepost")
MYSQL_INTEGER = IdType(_integer(64, unsigned=True), 0)
"""The protocol's type of a column does not tell BIGINT from BIGINT UNSIGNED."""

POSTGRESQL: Mapping[str, IdType] = {
    "text": TEXT,
    "varchar": TEXT,
    "bpchar": TEXT,
    "citext": TEXT,
    "int2": IdType(_integer(16), 0),
    "int4": IdType(_integer(32), 0),
    "int8": IdType(_integer(64), 0),
    "numeric": IdType(_decimal, Decimal(0)),
    "uuid": IdType(_uuid, UUID(int=0)),
}
"""By the name of the type that PostgreSQL gives the parameter."""
