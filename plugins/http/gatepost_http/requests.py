"""The requests of an instance: templates, made at the start from the settings, and filled for each message."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote, urlencode

import msgspec

from gatepost import wire
from gatepost_http import messages
from gatepost_http.settings import Settings
from gatepost_http.templates import (
    AddFault,
    Json,
    TemplateError,
    Text,
    Values,
    fill_json,
    names_in,
    parse_json,
    parse_text,
)

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_NOTHING = Text(("",))


class Prepared(NamedTuple):
    """One request as it goes out, apart from the headers of every request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None


@dataclass(frozen=True, slots=True, repr=False)
class RequestTemplate:
    """A request with placeholders."""

    method: str
    path: Text
    query: Mapping[str, Text]
    headers: Mapping[str, Text]
    json: Json | None = None
    form: Mapping[str, Text] | None = None

    @property
    def url_names(self) -> set[str]:
        """The names of the placeholders in its URL."""
        return names_in([self.path, *self.query.values()])

    @property
    def names(self) -> set[str]:
        """The names of all its placeholders."""
        return (
            self.url_names
            | names_in([*self.headers.values(), *(self.form or {}).values()])
            | names_in(self.json)
        )

    def fill(self, values: Values) -> Prepared:
        """Return the request with a message's values; raises UnicodeEncodeError for half a character."""
        query = urlencode(_fill(self.query, values), quote_via=quote)
        path = self.path.fill_path(values) + (f"?{query}" if query else "")
        headers = dict(_fill(self.headers, values))
        if self.form is not None:
            return Prepared(
                self.method, path, {**FORM, **headers}, urlencode(_fill(self.form, values)).encode()
            )
        body = None if self.json is None else msgspec.json.encode(fill_json(self.json, values))
        return Prepared(self.method, path, headers, body)


class Compiler:
    """Makes templates from settings, and adds a fault for each text that can't be one."""

    def __init__(self, settings: Settings, add_fault: AddFault) -> None:
        self._settings = settings
        self._add_fault = add_fault
        self._secrets = {f"secret.{name}" for name in settings.secrets}

    def fixed_headers(self) -> Mapping[str, Text]:
        """Return the headers of every request."""
        return self._headers("headers", self._settings.headers, ())

    def request(self) -> RequestTemplate:
        """Return the request that sends a message."""
        table, channel = self._settings.request, self._settings.channel
        form = (
            None
            if table.form is None
            else self._texts("request.form", table.form, messages.body_names(channel))
        )
        allowed = {*messages.json_names(channel), *self._secrets}
        return RequestTemplate(
            method=table.method,
            path=self._path("request.path", table.path, messages.path_names(channel)),
            query=self._texts("request.query", table.query, messages.body_names(channel)),
            headers=self._headers("request.headers", table.headers, messages.header_names()),
            json=None
            if table.json is None
            else parse_json(table.json, allowed, "request.json", self._add_fault),
            form=form,
        )

    def ping(self) -> RequestTemplate | None:
        """Return the request of a ping, where there is one."""
        table = self._settings.ping
        if table is None:
            return None
        return RequestTemplate(
            method=table.method,
            path=self._path("ping.path", table.path, ()),
            query=self._texts("ping.query", table.query, ()),
            headers={},
        )

    def _text(self, key: str, text: str, allowed: Iterable[str]) -> Text:
        try:
            return parse_text(text, {*allowed, *self._secrets})
        except TemplateError as error:
            self._add_fault(key, str(error))
            return _NOTHING

    def _texts(self, key: str, table: Mapping[str, str], allowed: Collection[str]) -> Mapping[str, Text]:
        return {name: self._text(f"{key}.{name}", text, allowed) for name, text in table.items()}

    def _path(self, key: str, text: str, allowed: Collection[str]) -> Text:
        if not text.startswith("/") or not text.isprintable() or re.search(r"[?# \\]|/\.{1,2}(/|\Z)", text):
            self._add_fault(key, "must begin with a slash and have no ? or #: parameters belong to query")
        return self._text(key, text, allowed)

    def _headers(self, key: str, table: Mapping[str, str], allowed: Collection[str]) -> Mapping[str, Text]:
        names = [name.lower() for name in table]
        for name, text in table.items():
            if names.count(name.lower()) > 1:
                self._add_fault(f"{key}.{name}", "is there twice, in different case: a header has one value")
            if not wire.can_set_header(name):
                self._add_fault(f"{key}.{name}", "is not a header that can be set")
            if not (text.isascii() and text.isprintable()):
                self._add_fault(f"{key}.{name}", "must be printable ASCII")
        texts = self._texts(key, table, allowed)
        for name in sorted(names_in(list(texts.values())) & self._secrets):
            value = self._settings.secrets[name.removeprefix("secret.")].reveal()
            if not (value.isascii() and value.isprintable()):
                self._add_fault(
                    name.replace("secret.", "secrets."), "can't be in a header: it must be printable ASCII"
                )
        return texts


def _fill(texts: Mapping[str, Text], values: Values) -> list[tuple[str, str]]:
    """Return the pairs whose placeholders all have values."""
    return [(name, filled) for name, text in texts.items() if (filled := text.fill(values)) is not None]
