"""The conversion of TOML tables to structs. It collects every fault instead of stopping at the first."""

import difflib
import types
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

import msgspec

from gatepost.config.toml_values import UnusableValue, ValueReader
from gatepost.errors import Fault

S = TypeVar("S", bound=msgspec.Struct)


class Table:
    """One TOML table. It shares its list of faults with the tables inside it.

    It is large because each kind of content has a method: values, tables, tables by name, and arrays of tables.
    """

    def __init__(
        self, content: Mapping[str, Any], values: ValueReader, faults: list[Fault] | None = None
    ) -> None:
        self._content = content
        self._values = values
        self.faults: list[Fault] = [] if faults is None else faults

    @classmethod
    def root(cls, content: Mapping[str, Any], *, base: Path, environment: Mapping[str, str]) -> "Table":
        """Return the table of a whole file in the folder ``base``."""
        return cls(content, ValueReader(base, environment))

    def _inner(self, content: Mapping[str, Any]) -> "Table":
        return Table(content, self._values, self.faults)

    def add_fault(self, key: str, problem: str) -> None:
        """Add a fault to the list."""
        self.faults.append(Fault(key, problem))

    def names(self, section: str) -> Collection[str]:
        """Return the keys of the table ``section``; none when it is not a table."""
        content = self._content.get(section)
        return content.keys() if isinstance(content, dict) else ()

    def raw_value(self, *path: str | int) -> Any:
        """Return the value at this path as the file has it, before ``env:`` and ``file:`` are followed, or None.

        A number in the path is a position in a list.
        """
        found: Any = self._content
        for key in path:
            if isinstance(key, int):
                found = found[key] if isinstance(found, list) and key < len(found) else None
            else:
                found = found.get(key) if isinstance(found, dict) else None
        return found

    def value(self, key: str, wanted: Any, path: str) -> Any:
        """Return the value of a key as the type ``wanted``; None when it is missing, or has a fault."""
        if key not in self._content:
            return None
        try:
            return self._values.convert(self._content[key], wanted)
        except UnusableValue as error:
            self.add_fault(path, str(error))
            return None

    def text(self, key: str, path: str) -> str | None:
        """Return a required text; None, and a fault, when there is none."""
        value = self._content.get(key)
        if isinstance(value, str) and value:
            try:
                return self._values.resolve(value)
            except UnusableValue as error:
                self.add_fault(path, str(error))
                return None
        self.add_fault(path, "is missing" if value is None else "must be a text")
        return None

    def optional_text(self, key: str) -> str:
        """Return a text; empty, and without a fault, when there is none."""
        value = self._content.get(key)
        try:
            return self._values.resolve(value) if isinstance(value, str) else ""
        except UnusableValue:
            return ""

    def struct(self, section: str, struct_type: type[S]) -> S:
        """Return the table ``section`` as a struct, with the default of each key that is missing or unusable."""
        return self.table(section).convert(struct_type, section, fallbacks={}) or struct_type()

    def table(self, section: str) -> "Table":
        """Return the table ``section``; an empty one when it is missing or, with a fault, is not a table."""
        content = self._content.get(section, {})
        if not isinstance(content, dict):
            self.add_fault(section, f"must be a table: [{section}]")
            content = {}
        return self._inner(content)

    def rows(self, key: str) -> list["Table"]:
        """Return the tables of an array of tables."""
        return [self._inner(content) for content in self._content[key]]

    def tables(self, section: str) -> Iterator[tuple[str, "Table"]]:
        """Yield the tables inside the table ``section``, with their names."""
        content = self._content.get(section, {})
        if not isinstance(content, dict):
            self.add_fault(section, f"must hold tables: [{section}.NAME]")
            return
        for name, inner in content.items():
            if isinstance(inner, dict):
                yield name, self._inner(inner)
            else:
                self.add_fault(f"{section}.{name}", f"must be a table: [{section}.NAME]")

    def split(self, keys: Collection[str]) -> tuple["Table", "Table"]:
        """Return this table as two: one with these keys, and one with the others."""
        chosen = {key: value for key, value in self._content.items() if key in keys}
        others = {key: value for key, value in self._content.items() if key not in keys}
        return self._inner(chosen), self._inner(others)

    def refuse_unknown(self, known: Collection[str], path: str = "") -> Collection[str]:
        """Add a fault for every unknown key; return the known keys that these are probably misspellings of."""
        intended = set()
        for key in self._content:
            if key not in known:
                closest = closest_name(key, set(known) - self._content.keys())
                intended |= {closest} - {""}
                problem = f"is not a key here; {suggestion(closest, known)}"
                self.add_fault(f"{path}.{key}" if path else key, problem)
        return intended

    def convert(
        self, struct_type: type[S], path: str, *, fallbacks: Mapping[str, Any] | None = None, **preset: Any
    ) -> S | None:
        """Return this table as a struct, converted key by key; None when any of the keys has a fault.

        With ``fallbacks`` a struct is returned in spite of faults, so that it can be checked for further faults.
        It has defaults in place of unusable values, and ``fallbacks`` for keys without a default. ``preset``
        are fields that have no key in the table.
        """
        before = len(self.faults)
        values: dict[str, Any] = {**preset, **self._convert_keys(struct_type, path, preset)}
        if len(self.faults) > before:
            if fallbacks is None:
                return None
            values = {**fallbacks, **values}
        try:
            return struct_type(**values)
        except (ValueError, TypeError):
            # Raised by the struct's own __post_init__. Its text may quote a value.
            self.add_fault(path, "these settings do not go together")
            return None

    def _convert_keys(
        self, struct_type: type[msgspec.Struct], path: str, preset: Collection[str]
    ) -> dict[str, Any]:
        fields = {
            field.encode_name: field
            for field in msgspec.structs.fields(struct_type)
            if field.name not in preset
        }
        values: dict[str, Any] = {}
        misspelled = self.refuse_unknown(fields.keys(), path)
        for key, field in fields.items():
            if key not in self._content:
                # A misspelled key has its fault already.
                if field.required and key not in misspelled:
                    self.add_fault(f"{path}.{key}", "is missing")
                continue
            before = len(self.faults)
            value = self._convert_key(key, field.type, f"{path}.{key}")
            if len(self.faults) == before:
                values[field.name] = value
        return values

    def _convert_key(self, key: str, wanted: Any, path: str) -> Any:
        """Return the value of a key. Tables inside this one are converted key by key, so that faults name their keys."""
        content = self._content[key]
        struct_type = _struct_in(wanted)
        if struct_type is not None and isinstance(content, dict):
            return self._inner(content).convert(struct_type, path)
        row_type = _struct_in(*get_args(_plain(wanted))) if get_origin(_plain(wanted)) is list else None
        if (
            row_type is not None
            and isinstance(content, list)
            and all(isinstance(row, dict) for row in content)
        ):
            rows = [self._inner(row) for row in content]
            return [row.convert(row_type, f"{path}[{number}]") for number, row in enumerate(rows, start=1)]
        if isinstance(content, dict) and (row_type := _struct_in_mapping(wanted)) is not None:
            inner = ((name, self._inner(one)) for name, one in content.items() if isinstance(one, dict))
            tables = {name: one.convert(row_type, f"{path}.{name}") for name, one in inner}
            if len(tables) == len(content):
                return tables
        return self.value(key, wanted, path)


def _struct_in_mapping(wanted: Any) -> type[msgspec.Struct] | None:
    """Return the struct that the values of a mapping of this type are; None for all other types."""
    wanted = _plain(wanted)
    return _struct_in(get_args(wanted)[1]) if get_origin(wanted) in {dict, Mapping} else None


def _struct_in(wanted: Any) -> type[msgspec.Struct] | None:
    """Return the struct that a value of this type is, unless it is None; None for all other types."""
    wanted = _plain(wanted)
    if get_origin(wanted) in {Union, types.UnionType}:
        kinds = [kind for kind in get_args(wanted) if kind is not types.NoneType]
        return _struct_in(kinds[0]) if len(kinds) == 1 else None
    return wanted if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct) else None


def _plain(wanted: Any) -> Any:
    """Return a type without its annotations."""
    return wanted.__origin__ if hasattr(wanted, "__metadata__") else wanted


def closest_name(name: str, names: Collection[str]) -> str:
    """Return the one of these names that is probably meant; empty when none is close."""
    return next(iter(difflib.get_close_matches(name, sorted(names), 1)), "")


def suggestion(closest: str, names: Collection[str]) -> str:
    """Return the end of a fault's text: the name that is probably meant, and all possible names."""
    question = f"is it {closest}? " if closest else ""
    return f"{question}there are: {', '.join(sorted(names)) or 'none'}"
