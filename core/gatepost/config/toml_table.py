"""TOML tables to structs, with every fault collected instead of the first one raised."""

import difflib
import types
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from gatepost.config.networks import Network
from gatepost.errors import Fault
from gatepost.model import Secret

S = TypeVar("S", bound=msgspec.Struct)

MAX_FILE = 1_048_576
"""Bytes of a ``file:`` that are read; keys and certificates are a few thousand."""


class _Unusable(Exception):
    """A value that can't be had; its text is the fault."""


class Table:
    """One TOML table; shares its list of faults with the tables inside it."""

    def __init__(
        self,
        content: Mapping[str, Any],
        *,
        base: Path,
        environment: Mapping[str, str],
        faults: list[Fault] | None = None,
    ) -> None:
        self._content = content
        self._base = base
        self._environment = environment
        self.faults: list[Fault] = [] if faults is None else faults

    def fault(self, key: str, problem: str) -> None:
        """Note that something is wrong and go on."""
        self.faults.append(Fault(key, problem))

    def _within(self, content: Mapping[str, Any]) -> "Table":
        return Table(content, base=self._base, environment=self._environment, faults=self.faults)

    def names(self, section: str) -> Collection[str]:
        """The keys of a table of this table; none where it isn't a table."""
        content = self._content.get(section)
        return content.keys() if isinstance(content, dict) else ()

    def struct(self, section: str, kind: type[S]) -> S:
        """The table ``section`` as a struct; the default of each key that is missing or unusable."""
        content = self._content.get(section, {})
        if not isinstance(content, dict):
            self.fault(section, f"must be a table: [{section}]")
            return kind()
        return self._within(content).convert(kind, section, instead={}) or kind()

    def tables(self, section: str) -> Iterator[tuple[str, "Table"]]:
        """The tables of the table ``section``, by name."""
        content = self._content.get(section, {})
        if not isinstance(content, dict):
            self.fault(section, f"must hold tables: [{section}.NAME]")
            return
        for name, inner in content.items():
            if isinstance(inner, dict):
                yield name, self._within(inner)
            else:
                self.fault(f"{section}.{name}", f"must be a table: [{section}.NAME]")

    def split(self, keys: Collection[str]) -> tuple["Table", "Table"]:
        """This table as two: with these keys, and with the others."""
        mine = {key: value for key, value in self._content.items() if key in keys}
        rest = {key: value for key, value in self._content.items() if key not in keys}
        return self._within(mine), self._within(rest)

    def text(self, key: str, path: str) -> str | None:
        """A text that must be there; None, and a fault, where it isn't."""
        value = self._content.get(key)
        if isinstance(value, str) and value:
            try:
                return self._resolve(value)
            except _Unusable as error:
                self.fault(path, str(error))
                return None
        self.fault(path, "is missing" if value is None else "must be a text")
        return None

    def written(self, *path: str) -> Any:
        """What stands at this path, before ``env:`` and ``file:`` are followed; None where nothing does."""
        found: Any = self._content
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        return found

    def refuse_unknown(self, known: Collection[str], path: str = "") -> Collection[str]:
        """Note every key that nobody knows; returns the keys that seem to be meant by them."""
        meant = set()
        for key in self._content:
            if key not in known:
                near = nearest(key, set(known) - self._content.keys())
                meant |= {near} - {""}
                self.fault(f"{path}.{key}" if path else key, f"is not a key here; {choice(near, known)}")
        return meant

    def convert(
        self, kind: type[S], path: str, *, instead: Mapping[str, Any] | None = None, **given: Any
    ) -> S | None:
        """This table as a struct of ``kind``, key by key; None when any of them was at fault.

        With ``instead`` it is made all the same, so that what else is wrong with it can be found: of the
        defaults, and of these values for keys that have none.
        """
        before = len(self.faults)
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        values: dict[str, Any] = dict(given)
        meant = self.refuse_unknown(fields.keys() - given.keys(), path)
        for key, field in fields.items():
            if field.name in given:
                continue
            if key not in self._content:
                # Of a key that is misspelled one fault is enough.
                if field.required and key not in meant:
                    self.fault(f"{path}.{key}", "is missing")
                continue
            try:
                values[field.name] = self._value(self._content[key], field.type)
            except _Unusable as error:
                self.fault(f"{path}.{key}", str(error))
        if len(self.faults) > before:
            if instead is None:
                return None
            values = {**instead, **values}
        try:
            return kind(**values)
        except (ValueError, TypeError):
            # A struct's own __post_init__; its text may quote a value.
            self.fault(path, "these settings do not go together")
            return None

    def _value(self, value: Any, kind: Any) -> Any:
        resolved = self._resolve_all(value)
        # What came from the environment or a file is text, whatever it stands for.
        strict = resolved == value
        try:
            return msgspec.convert(resolved, kind, strict=strict, dec_hook=self._decode)
        except msgspec.ValidationError as error:
            raise _Unusable(_explain(error, kind)) from None

    def _resolve_all(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._resolve(value)
        if isinstance(value, list):
            return [self._resolve_all(item) for item in value]
        if isinstance(value, dict):
            return {key: self._resolve_all(item) for key, item in value.items()}
        return value

    def _resolve(self, value: str) -> str:
        if value.startswith("env:"):
            name = value.removeprefix("env:")
            found = self._environment.get(name)
            if found is None:
                raise _Unusable(f"the environment variable {name} is not set")
            return found
        if value.startswith("file:"):
            return self._file(self._base / value.removeprefix("file:"))
        return value

    @staticmethod
    def _file(path: Path) -> str:
        try:
            with path.open("rb") as file:
                content = file.read(MAX_FILE + 1)
        except OSError as error:
            raise _Unusable(f"{path} can't be read ({error.strerror})") from None
        if len(content) > MAX_FILE:
            raise _Unusable(f"{path} is larger than {MAX_FILE} bytes")
        try:
            return content.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise _Unusable(f"{path} is not UTF-8") from None

    def _decode(self, kind: type, value: Any) -> Any:
        """What msgspec has no type for; raises ValueError with a text that quotes nothing."""
        if not isinstance(value, str):
            raise ValueError("must be a text")  # noqa: TRY004  msgspec passes on a ValueError's text
        if kind is Secret:
            return Secret(value)
        if kind is Network:
            return Network(value)
        if issubclass(Path, kind):
            if not value:
                raise ValueError("must be a path")
            return self._base / Path(value).expanduser()
        raise NotImplementedError(kind)


def nearest(name: str, names: Collection[str]) -> str:
    """Return the one of these names that is probably meant; empty where none is close."""
    return next(iter(difflib.get_close_matches(name, sorted(names), 1)), "")


def choice(near: str, names: Collection[str]) -> str:
    """Return the end of a fault: the name that is probably meant, and all that there are."""
    return f"{f'is it {near}? ' if near else ''}there are: {', '.join(sorted(names)) or 'none'}"


def _explain(error: msgspec.ValidationError, kind: Any) -> str:
    """The text of msgspec without what it quotes: an unknown enum value, an unknown field."""
    text = str(error)
    where = ""
    if " - at `$" in text:
        text, _, where = text.partition(" - at `$")
        where = where.rstrip("`")
    allowed = _literals(kind)
    if "Invalid enum value" in text and allowed:
        text = "must be one of: " + ", ".join(allowed)
    elif "Invalid enum value" in text or "unknown field" in text:
        text = "has a value that is not known here"
    elif text.startswith("Expected"):
        text = _in_words(text)
    return f"{text} (at {where})" if where else text


_WORDS = {
    "`int`": "a whole number",
    "`float`": "a number",
    "`str`": "a text",
    "`bool`": "true or false",
    "`array`": "a list",
    "`object`": "a table",
}


def _in_words(text: str) -> str:
    for name, words in _WORDS.items():
        text = text.replace(name, words)
    return "e" + text[1:].replace("`", "")


def _literals(kind: Any) -> list[str]:
    if get_origin(kind) is Literal:
        return [str(value) for value in get_args(kind)]
    if get_origin(kind) in {Union, types.UnionType} or hasattr(kind, "__metadata__"):
        return [
            text for part in get_args(kind)[: None if get_origin(kind) else 1] for text in _literals(part)
        ]
    return []
