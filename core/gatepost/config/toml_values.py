"""Single values of gatepost.toml: ``env:`` and ``file:`` are followed, and the result is converted to a type."""

import re
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from gatepost.config.networks import Network
from gatepost.model import Secret

MAX_FILE_SIZE = 1_048_576
"""Bytes of a ``file:`` that are read; keys and certificates have a few thousand."""


class UnusableValue(Exception):
    """A value that can't be used; the text is the problem of a Fault, and quotes no value."""


class ValueReader:
    """Reads values whose relative paths start at ``base``, and whose ``env:NAME`` are in ``environment``."""

    def __init__(self, base: Path, environment: Mapping[str, str]) -> None:
        self._base = base
        self._environment = environment

    def convert(self, value: Any, wanted: Any) -> Any:
        """Return a TOML value as the type ``wanted``; raises UnusableValue."""
        resolved = self._resolve_all(value)
        # A value from the environment or from a file is always a text, also where a number is wanted.
        strict = resolved == value
        try:
            return msgspec.convert(resolved, wanted, strict=strict, dec_hook=self._decode)
        except msgspec.ValidationError as error:
            raise UnusableValue(_explain(error, wanted)) from None

    def resolve(self, text: str) -> str:
        """Return the value that ``env:NAME`` or ``file:/path`` stands for, or ``text``; raises UnusableValue."""
        if text.startswith("env:"):
            name = text.removeprefix("env:")
            found = self._environment.get(name)
            if found is None:
                raise UnusableValue(f"the environment variable {name} is not set")
            return found
        if text.startswith("file:"):
            return _read_file(self._base / text.removeprefix("file:"))
        return text

    def _resolve_all(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.resolve(value)
        if isinstance(value, list):
            return [self._resolve_all(item) for item in value]
        if isinstance(value, dict):
            return {key: self._resolve_all(item) for key, item in value.items()}
        return value

    def _decode(self, wanted: type, value: Any) -> Any:
        """Return a value as one of the types that msgspec does not know; raises ValueError, which quotes nothing."""
        if not isinstance(value, str):
            raise ValueError("must be a text")  # noqa: TRY004  msgspec passes on the text of a ValueError only
        if wanted is Secret:
            return Secret(value)
        if wanted is Network:
            return Network(value)
        if issubclass(Path, wanted):
            if not value:
                raise ValueError("must be a path")
            return self._base / Path(value).expanduser()
        raise NotImplementedError(wanted)


def _read_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_SIZE + 1)
    except OSError as error:
        raise UnusableValue(f"{path} can't be read ({error.strerror})") from None
    if len(content) > MAX_FILE_SIZE:
        raise UnusableValue(f"{path} is larger than {MAX_FILE_SIZE} bytes")
    try:
        return content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise UnusableValue(f"{path} is not UTF-8") from None


def _explain(error: msgspec.ValidationError, wanted: Any) -> str:
    """Return the text of a msgspec error without the values that it quotes: an unknown enum value or field."""
    text = str(error)
    where = ""
    if " - at `$" in text:
        text, _, where = text.partition(" - at `$")
        where = where.rstrip("`")
    allowed = _literals(wanted)
    if "Invalid enum value" in text and allowed:
        text = "must be one of: " + ", ".join(allowed)
    elif "Invalid enum value" in text or "unknown field" in text:
        text = "has a value that is not known here"
    elif text.startswith("Expected"):
        text = _in_words(text)
    return f"{_place(where)}{text}" if where else text


def _place(where: str) -> str:
    """Return the place inside the value that msgspec names, such as ``[1]``, as the beginning of a text."""
    position = re.match(r"\[(\d+)\]", where)
    return f"entry {int(position[1]) + 1} " if position else "an entry "


_TYPES_IN_WORDS = {
    "`int`": "a whole number",
    "`float`": "a number",
    "`str`": "a text",
    "`bool`": "true or false",
    "`array`": "a list",
    "`object`": "a table",
}


def _in_words(text: str) -> str:
    # TOML has no null: it only says that the key may be left out.
    text = text.replace(" | null", "")
    for name, words in _TYPES_IN_WORDS.items():
        text = text.replace(name, words)
    return "e" + text[1:].replace("`", "")


def _literals(wanted: Any) -> list[str]:
    if get_origin(wanted) is Literal:
        return [str(value) for value in get_args(wanted) if value]
    if get_origin(wanted) in {Union, types.UnionType, tuple} or hasattr(wanted, "__metadata__"):
        return [
            text for part in get_args(wanted)[: None if get_origin(wanted) else 1] for text in _literals(part)
        ]
    return []
