"""The requests of an instance: templates that are checked at the start. No id can leave its place in them.

A URL has its placeholder in the path or in the query, never in the host. In a body the placeholder is a whole text.
Pure functions.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import msgspec

from gatepost import wire
from gatepost.errors import ConfigError

USER = "{ext_user_id}"
USERS = "{ext_user_ids}"

SEPARATOR = ","
"""What stands between the ids in a URL."""

MAX_URL = 7_000
"""Characters of a URL with several ids: many servers refuse a longer one than 8 KiB."""

AddFault = Callable[[str, str], None]
"""Adds a fault: the key, and what is wrong."""

_PARTS = re.compile(r"(?P<base>[^:/?]+://[^/?#]*)(?P<target>.*)", re.DOTALL)
_TARGET = re.compile(r"(?:[!$&-;=?-\[\]_a-z~]|%[0-9A-Fa-f]{2})*")
_DOTS = re.compile(r"(?:\A|[/\\])\.{1,2}(?:[/\\;]|\Z)")


class Prepared(NamedTuple):
    """One request as it goes out."""

    method: str
    path: str
    """The path and query."""
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Template:
    """A request with a placeholder for one id or for several."""

    placeholder: str
    method: str
    base: str
    """The URL without path and query."""
    target: str
    body: Any

    def fill(self, *ext_user_ids: str) -> Prepared | None:
        """Return the request about these users; None where it can't hold one of their ids, so that no user has it."""
        is_single = self.placeholder == USER
        try:
            value = SEPARATOR.join(quote(one, safe="") for one in ext_user_ids)
            filled = _fill(self.body, self.placeholder, ext_user_ids[0] if is_single else list(ext_user_ids))
            body = None if self.body is None else msgspec.json.encode(filled)
        except UnicodeEncodeError:
            return None
        path, mark, query = self.target.partition("?")
        filled_path = path.replace(self.placeholder, value)
        # Such an id would lead to another resource: many servers decode a path before they look for slashes and dots.
        if filled_path != path and any("/" in one or "\\" in one for one in ext_user_ids):
            return None
        if _DOTS.search(unquote(filled_path)):
            return None
        return Prepared(self.method, filled_path + mark + query.replace(self.placeholder, value), body)

    def batches(self, ext_user_ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
        """Yield the ids in groups of at most ``size`` that one request can hold; leave out those that none can."""
        in_url = USERS in self.target
        batch: list[str] = []
        length = 0
        for one in ext_user_ids:
            if self.fill(one) is None or (in_url and SEPARATOR in one):
                continue
            added = len(quote(one, safe="")) + 1 if in_url else 0
            if batch and (len(batch) == size or length + added > MAX_URL):
                yield batch
                batch, length = [], 0
            batch.append(one)
            length += added
        if batch:
            yield batch


def make_template(
    placeholder: str, url: str, method: str, body: Any, key: str, add_fault: AddFault
) -> Template:
    """Return a template; adds a fault for everything that can't be one. ``key`` is that of the URL."""
    body_key = f"{key.removesuffix('url')}body"
    base, target = split_url(url, key, add_fault)
    if method == "GET" and body is not None:
        add_fault(body_key, 'has no effect: a GET has none; set method = "POST"')
    in_body = _check_body(body, placeholder, body_key, add_fault)
    rest = target.replace(placeholder, "")
    if braces := re.search(r"\{[^{}]*\}", rest):
        add_fault(key, f"has {braces[0][:40]}, which is no placeholder here: {placeholder} is the only one")
    elif not _TARGET.fullmatch(rest):
        add_fault(
            key, "must be printable ASCII without a fragment: percent-encode other characters, also braces"
        )
    elif _DOTS.search(unquote(target.partition("?")[0])):
        add_fault(key, "must have no . and no .. in its path")
    elif base and placeholder not in target and not in_body:
        add_fault(key, f"has no {placeholder}: every user would be the same one")
    return Template(placeholder, method, base, target, body)


def split_url(url: str, key: str, add_fault: AddFault) -> tuple[str, str]:
    """Return the URL without path and query, and these two; adds a fault where it is no URL, and the first is empty."""
    parts = _PARTS.fullmatch(url)
    if parts is None:
        add_fault(key, "must be a URL such as https://accounts.example/users")
        return "", ""
    base, target = parts["base"], parts["target"]
    if "{" in base:
        add_fault(key, "has a placeholder in its host: only path and query may vary")
        base = ""
    else:
        try:
            wire.check_base_url(base, key)
        except ConfigError as error:
            add_fault(*error.faults[0])
            base = ""
    return base, target if target.startswith("/") else f"/{target}"


def _check_body(value: Any, placeholder: str, key: str, add_fault: AddFault) -> bool:
    """Return whether a body has the placeholder; adds a fault for everything that can't be in one."""
    if isinstance(value, dict):
        found = [_check_body(item, placeholder, f"{key}.{name}", add_fault) for name, item in value.items()]
        return any(found)
    if isinstance(value, list):
        items = enumerate(value, start=1)
        found = [_check_body(item, placeholder, f"{key}[{number}]", add_fault) for number, item in items]
        return any(found)
    if isinstance(value, str):
        if placeholder in value and value != placeholder:
            add_fault(key, f"must be {placeholder} alone: within a longer text an id could leave its place")
        return placeholder in value
    if not (value is None or isinstance(value, int) or (isinstance(value, float) and isfinite(value))):
        add_fault(key, "must be a text, a number, true, false, a table or an array")
    return False


def _fill(value: Any, placeholder: str, filling: str | list[str]) -> Any:
    match value:
        case dict():
            return {name: _fill(item, placeholder, filling) for name, item in value.items()}
        case list():
            return [_fill(item, placeholder, filling) for item in value]
        case str() if value == placeholder:
            return filling
    return value
