"""What the service's answer says about a user. Pure functions.

Nothing is guessed: an answer that is not exactly of the form that the settings describe raises Unavailable, and its
reason names a setting and never a value.
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from gatepost import wire
from gatepost.errors import Unavailable
from gatepost.model import BLOCKED, Contact, Secret, blocked_reason, reason_of
from gatepost_accounts.requests import AddFault
from gatepost_accounts.settings import Settings, Unknown, Value

_MAX_NUMBER = 2**128
"""As large as a UUID: a number of thousands of digits takes long to be written."""
_ABOUT_A_USER = frozenset({*range(200, 300), *range(400, 500)}) - {401, 403, 407, 408, 425, 429}
"""The statuses that may say that there is no such user."""
_NOTHING = object()


@dataclass(frozen=True, slots=True)
class UserReader:
    """Reads users as the settings say."""

    user: wire.Pointer | None
    fields: Mapping[str, wire.Pointer]
    """The pointers to id, email, phone and blocked, as far as they are set."""
    attributes: Mapping[str, wire.Pointer]
    optional: Collection[str]
    not_blocked: Collection[str] | None
    unknown: Unknown | None
    unknown_at: wire.Pointer
    page_users: wire.Pointer

    def is_unknown(self, reply: wire.Reply) -> bool:
        """Return whether an answer says that there is no such user; raises Unavailable for one that a proxy may give."""
        unknown = self.unknown or Unknown()
        if reply.status not in unknown.statuses:
            return False
        if unknown.at:
            found = wire.resolve(_decode_or_none(reply.body), self.unknown_at, _NOTHING)
            return any(type(found) is type(value) and found == value for value in unknown.values)
        if self.unknown is None and _is_text(reply):
            raise Unavailable(
                "a 404 that is a web page or a text, perhaps of a proxy: if the service answers so for unknown users, "
                "set unknown",
                code="404",
                misconfigured=True,
            )
        return True

    def read(self, body: bytes, ext_user_id: str) -> Contact | None:
        """Return the contact in an answer about one user; None where it says that there is none."""
        answer = document = decode(body)
        if self.user is not None:
            _check_no_error(answer)
            document = wire.resolve(answer, self.user, _NOTHING)
            if document is None or document == []:
                return None
            if isinstance(document, list):
                if len(document) > 1:
                    raise _wrong("the answer has several users at `user`")
                document = document[0]
        if not isinstance(document, dict):
            raise _wrong(f"the answer has no user {'at `user`' if self.user else 'in it: it is no object'}")
        if "id" in self.fields and self._id(document) != ext_user_id:
            raise _wrong("the answer is about another user: `id` is not the one that was asked for")
        contact = self._contact(document)
        _check_no_error(answer)
        return contact

    def read_page(self, body: bytes, ext_user_ids: Collection[str]) -> Mapping[str, Contact]:
        """Return the contacts in an answer about several users, by their ids.

        Left out are those who were not asked for, who are in it twice, or whose values make no sense, and all where it has an
        error in it: an answer about each of them alone says more.
        """
        answer = decode(body)
        found = wire.resolve(answer, self.page_users, _NOTHING)
        if not isinstance(found, list):
            raise _wrong("the answer has no list at `page.users`")
        if _error_in(answer):
            return {}
        records: dict[str, list[Any]] = {}
        for record in found:
            with suppress(Unavailable):
                records.setdefault(self._id(record), []).append(record)
        contacts: dict[str, Contact] = {}
        for one in ext_user_ids:
            if len(record := records.get(one, ())) == 1:
                with suppress(Unavailable):
                    contacts[one] = self._contact(record[0])
        return contacts

    def _id(self, record: Any) -> str:
        value = wire.resolve(record, self.fields["id"])
        text = None if isinstance(value, bool) else _text(value)
        if not text:
            raise _wrong("the answer has no text and no whole number at `id`")
        return text

    def _contact(self, record: Any) -> Contact:
        attributes = {name: self._attribute(record, name) for name in self.attributes}
        return Contact(
            email=self._address(record, "email"),
            phone=self._address(record, "phone"),
            blocked=self._blocked(record),
            attributes={name: text for name, text in attributes.items() if text is not None},
        )

    def _value(self, record: Any, key: str) -> Any:
        """Return the value at the pointer of a setting; _NOTHING where the setting is empty or the value may be left out."""
        if key not in self.fields:
            return _NOTHING
        pointer = self.fields[key]
        found = wire.resolve(record, pointer, _NOTHING)
        if found is not _NOTHING:
            return found
        # Null in the place of an object on the way is null too.
        if any(wire.resolve(record, pointer[:end], _NOTHING) is None for end in range(1, len(pointer))):
            return None
        if key in self.optional:
            return _NOTHING
        raise _wrong(
            f"the answer has nothing at `{key}`: add it to `optional` if that means that a user has none"
        )

    def _address(self, record: Any, key: str) -> Secret | None:
        value = self._value(record, key)
        if value is None or value is _NOTHING:
            return None
        if not isinstance(value, str):
            raise _wrong(f"the answer has {_kind(value)} at `{key}` in place of a text")
        return Secret(value) if value else None

    def _blocked(self, record: Any) -> str:
        value = self._value(record, "blocked")
        if value is _NOTHING:
            return ""
        if isinstance(value, dict | list):
            raise _wrong(f"the answer has {_kind(value)} at `blocked`")
        text = "" if value is None else _text(value)
        if text is None:  # a fraction or a huge number
            return BLOCKED
        if self.not_blocked is None:
            return blocked_reason(text)
        return "" if text in self.not_blocked else reason_of(text)

    def _attribute(self, record: Any, name: str) -> str | None:
        value = wire.resolve(record, self.attributes[name])
        if isinstance(value, dict | list):
            raise _wrong(f"the answer has {_kind(value)} at `attributes.{name}`")
        return repr(value) if isinstance(value, float) else value if isinstance(value, str) else _text(value)


def make_reader(settings: Settings, add_fault: AddFault) -> UserReader:
    """Return a reader; adds a fault for everything that does not describe a user."""

    def pointer(key: str, text: str) -> wire.Pointer:
        try:
            return wire.parse_pointer(text)
        except ValueError as error:
            add_fault(key, str(error))
            return ()

    keys = ("id", "email", "phone", "blocked")
    fields = {key: pointer(key, text) for key in keys if (text := getattr(settings, key))}
    if not fields.keys() - {"id"}:
        add_fault("email", "is missing, and phone and blocked too: nothing says where to find a contact")
    elif fields.keys() <= set(settings.optional):
        add_fault(
            "optional", "has every place that is set, and id is not set: an error would be taken for a user"
        )
    for key in settings.optional:
        if key not in fields:
            add_fault("optional", f"has {key}, which is not set itself")
    if settings.not_blocked is not None and "blocked" not in fields:
        add_fault("not_blocked", "has no effect without blocked")
    if settings.page is not None and "id" not in fields:
        add_fault("id", "is missing: without it nothing says who is who on a page")
    unknown = settings.unknown or Unknown()
    _check_unknown(unknown, add_fault)
    attributes = {name: pointer(f"attributes.{name}", text) for name, text in settings.attributes.items()}
    return UserReader(
        user=None if settings.user is None else pointer("user", settings.user),
        fields=fields,
        attributes=attributes,
        optional=settings.optional,
        not_blocked=None if settings.not_blocked is None else frozenset(map(_word, settings.not_blocked)),
        unknown=settings.unknown,
        unknown_at=pointer("unknown.at", unknown.at),
        page_users=pointer("page.users", settings.page.users) if settings.page else (),
    )


def _check_unknown(unknown: Unknown, add_fault: AddFault) -> None:
    for status in unknown.statuses:
        if status not in _ABOUT_A_USER:
            add_fault("unknown.statuses", f"has {status}, which never says that there is no such user")
    if unknown.at and not unknown.values:
        add_fault(
            "unknown.values", "is missing: it says which values at unknown.at mean that there is no such user"
        )
    if not unknown.at and (unknown.values or 200 in unknown.statuses):
        add_fault("unknown.at", "is missing: it says where the answer names the reason")


def _is_text(reply: wire.Reply) -> bool:
    """Return whether an answer is a web page, or a text such as proxies send."""
    kind = reply.headers.get("Content-Type", "").strip().lower()
    return "html" in kind or (kind.startswith("text/") and bool(reply.body))


def _check_no_error(answer: Any) -> None:
    """Raise Unavailable for an answer with an error in it."""
    if name := _error_in(answer):
        raise _wrong(
            f"the answer has `/{name}` in it, so a part may be missing: if it means that there is no such user, set unknown"
        )


def _error_in(answer: Any) -> str:
    """Return where an answer has an error in it, as GraphQL has: a part is null because it could not look; empty: nowhere.

    That part may be why the user must not be contacted.
    """
    names = [name for name in ("errors", "error") if isinstance(answer, dict) and answer.get(name)]
    return names[0] if names else ""


def decode(body: bytes) -> Any:
    """Return the decoded JSON; raise Unavailable, whose text holds nothing of it."""
    with suppress(ValueError, RecursionError):
        return msgspec.json.decode(body)
    # Outside the block: the decoder's error would become this error's context.
    raise _wrong("the answer is not JSON")


def _decode_or_none(body: bytes) -> Any:
    with suppress(Unavailable):
        return decode(body)
    return None


def _word(value: Value) -> str:
    return _text(value) or ""


def _text(value: Any) -> str | None:
    """Return a text, a whole number or a boolean as a text; None for any other value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) < _MAX_NUMBER else None
    return value if isinstance(value, str) else None


def _kind(value: object) -> str:
    match value:
        case bool():
            return "true or false"
        case dict():
            return "an object"
        case list():
            return "a list"
    return "a number"


def _wrong(problem: str) -> Unavailable:
    return Unavailable(problem, misconfigured=True)
