"""The columns that the header of a file names, and what each of them is here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

from gatepost_csv.bad_file import BadFile

REQUIRED_COLUMNS = ("ext_user_id", "email", "phone")
BLOCKED_COLUMN = "blocked"
_KNOWN_COLUMNS = (*REQUIRED_COLUMNS, BLOCKED_COLUMN)


class Columns(NamedTuple):
    """The columns of one file."""

    width: int
    select: Callable[[list[str]], tuple[str, ...]]
    """Returns a row's fields in the order id, email, phone, attributes, and blocked where the file has that column."""
    attributes: tuple[str, ...]
    has_blocked: bool


def misspelt_names(renamed: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield each of our names that ``renamed`` has in another case or with blanks, and the name that is meant.

    Such a column would be an attribute, and a user who is blocked in it would get messages.
    """
    for name in renamed:
        if (meant := name.strip().lower()) in _KNOWN_COLUMNS and name != meant:
            yield name, meant


def parse_header(header: Sequence[str], renamed: Mapping[str, str]) -> Columns:
    """Return the columns. ``renamed`` has the file's names of some columns, by ours. Raises BadFile.

    A column of the file with one of our names is not read where ``renamed`` names another one for it.
    """
    names = [name.strip() for name in header]
    places: dict[str, int] = {}
    missing: list[str] = []
    for ours in (*_KNOWN_COLUMNS, *(name for name in renamed if name not in _KNOWN_COLUMNS)):
        theirs = renamed[ours].strip() if ours in renamed else ""
        if found := _find(names, theirs, ours):
            places[ours] = _only(found)
        elif theirs or ours in REQUIRED_COLUMNS:
            missing.append(theirs or ours)
    if missing:
        raise BadFile(
            f"the header has no column {', '.join(missing)}; it must name {_required(renamed)}, separated by the "
            "character that `delimiter` sets",
            1,
        )
    attributes = {ours: place for ours, place in places.items() if ours not in _KNOWN_COLUMNS}
    read = set(places.values())
    for place, name in enumerate(names):
        if name and place not in read and name.lower() not in _KNOWN_COLUMNS and name not in renamed:
            attributes[name] = _only([other for other, same in enumerate(names) if same == name])
    has_blocked = BLOCKED_COLUMN in places
    order = [places[name] for name in REQUIRED_COLUMNS] + list(attributes.values())
    if has_blocked:
        order.append(places[BLOCKED_COLUMN])
    return Columns(len(names), itemgetter(*order), tuple(attributes), has_blocked)


def _find(names: Sequence[str], theirs: str, ours: str) -> list[int]:
    """Return the places of a column: by the file's exact name where it is set, else by our name in any case."""
    return [place for place, name in enumerate(names) if (name == theirs if theirs else name.lower() == ours)]


def _only(places: Sequence[int]) -> int:
    if len(places) > 1:
        raise BadFile(f"columns {places[0] + 1} and {places[1] + 1} have the same name", 1)
    return places[0]


def _required(renamed: Mapping[str, str]) -> str:
    first, second, third = (renamed.get(name, name) for name in REQUIRED_COLUMNS)
    return f"{first}, {second} and {third}"
