"""The filter of the page of messages: how it is read from a request, and how a link repeats it."""

import re
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from gatepost.model import Channel, Status
from gatepost.observe.redaction import looks_private
from gatepost.outbox.console_users import ConsoleUser
from gatepost.outbox.message_filter import MessageFilter
from gatepost.outbox.moments import parse_moment
from gatepost.outbox.states import State
from gatepost.web.admin.known_names import NO_ADDRESSES
from gatepost.web.admin.words import utc

MAX_TEXT = 200
"""Characters of a value; no id and no name is longer."""

_TEXTS = ("client", "route", "plugin", "user")
_NOT_OF_REFUSED = ("state", "status", "route", "plugin", "dead")
_PLACE = re.compile(r"[0-9a-f-]{13,36}")

Value = TypeVar("Value")


class MessageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What a user looks for."""

    wanted: MessageFilter
    refused: bool
    """Whether refused requests are looked for, and not messages."""
    after: str
    """The place where the page before ended; empty: this is the first page."""
    fields: Sequence[tuple[str, str]]
    """The names and values that mean the same again; times are as they are now."""
    typed: dict[str, str]
    """What stands in the form."""
    problems: Sequence[str]
    """Why nothing was looked for."""

    def link(self, **more: str) -> str:
        """Return the path of the page with this filter."""
        fields = [*self.fields, *more.items()]
        return "/messages" + (f"?{urlencode(fields)}" if fields else "")


def read_query(given: Any, user: ConsoleUser) -> MessageQuery:
    """Return what the parameters of a path, or the fields of a form, say: as far as the user may see it."""
    return _Parameters(given).query(user)


class _Parameters:
    def __init__(self, given: Any) -> None:
        self._given = given
        self._problems: list[str] = []
        self._fields: list[tuple[str, str]] = []
        self._typed: dict[str, str] = {}

    def query(self, user: ConsoleUser) -> MessageQuery:
        texts = {name: self._text(name) for name in _TEXTS}
        states = [self._one("state", State, str(one)) for one in self._given.getall("state", [])]
        since, until = self._moment("since"), self._moment("until")
        if since is not None and until is not None and since >= until:
            self._problems.append("“Accepted since” must be before “accepted before”.")
        wanted = MessageFilter(
            client=texts["client"],
            route=texts["route"],
            plugin=texts["plugin"],
            user=texts["user"],
            channel=self._one("channel", Channel, self._get("channel")),
            status=self._one("status", Status, self._get("status")),
            states=tuple(dict.fromkeys(state for state in states if state is not None)),
            since=since,
            until=until,
            dead_callbacks=self._flag("dead"),
            clients=tuple(user.clients),
        )
        refused = self._flag("refused")
        if refused:
            wrong = [name for name, _ in self._fields if name in _NOT_OF_REFUSED]
            self._problems += [
                f"A refused request has no {name}: leave one of them out." for name in wrong[:1]
            ]
        return MessageQuery(
            wanted=wanted,
            refused=refused,
            after=self._after(refused=refused),
            fields=self._fields,
            typed=self._typed,
            problems=self._problems,
        )

    def _get(self, name: str) -> str:
        return str(self._given.get(name, "")).strip()

    def _text(self, name: str) -> str:
        value = self._get(name)
        if looks_private(value):
            # Not shown again.
            problem = NO_ADDRESSES if name == "user" else "this looks like an address or a phone number"
            self._problems.append(f"{name.capitalize()}: {problem}.")
            return ""
        if len(value) > MAX_TEXT or not value.isprintable():
            self._problems.append(f"{name.capitalize()}: this is not a name or an id.")
            return ""
        return self._note(name, value, value)

    def _one(self, name: str, kind: Callable[[str], Value], value: str) -> Value | None:
        if not value:
            return None
        try:
            found = kind(value)
        except ValueError:
            self._problems.append(f"{name.capitalize()}: choose one of the list.")
            return None
        self._note(name, value, value)
        return found

    def _moment(self, name: str) -> float | None:
        value = self._get(name)
        if not value:
            return None
        moment = parse_moment(value, time.time(), direction=-1) if value.isascii() else None
        if moment is None:
            self._problems.append(
                f"{name.capitalize()}: give a date, a time such as 2027-01-31T09:00Z, or how long ago, such as 12h or 7d."
            )
            return None
        # Not `2h`: the next page is of the same messages.
        self._note(name, value, utc(moment))
        return moment

    def _flag(self, name: str) -> bool:
        return bool(self._get(name) and self._note(name, "1", "1"))

    def _note(self, name: str, typed: str, value: str) -> str:
        if value:
            self._typed[name] = typed
            self._fields.append((name, value))
        return value

    def _after(self, *, refused: bool) -> str:
        value = self._get("after")
        fits = value.isascii() and value.isdigit() and len(value) < 19 if refused else _PLACE.fullmatch(value)
        if value and not fits:
            self._problems.append("There is no such page: begin with the first one.")
            return ""
        return value
