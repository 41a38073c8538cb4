"""Rules for JSON values, in the terms of Infobip's OpenAPI document, and what breaks them."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Violation = tuple[str, str]
"""The path of a value, and what is wrong with it."""
Rule = Callable[[Any, str], Iterator[Violation]]


def text(shortest: int = 0, longest: int | None = None, *, pattern: str = "") -> Rule:
    """Accept a text; the limits are in characters."""

    def check(value: Any, path: str) -> Iterator[Violation]:
        if not isinstance(value, str):
            yield path, "must be a string"
        elif len(value) < shortest or (longest is not None and len(value) > longest):
            yield path, f"size must be between {shortest} and {longest}"
        elif pattern and not re.fullmatch(pattern, value, re.ASCII):
            yield path, "is not valid"

    return check


def number(lowest: int | None = None, highest: int | None = None) -> Rule:
    """Accept a whole number of 32 bits."""
    low, high = -(2**31) if lowest is None else lowest, 2**31 - 1 if highest is None else highest

    def check(value: Any, path: str) -> Iterator[Violation]:
        if type(value) is not int or not low <= value <= high:
            yield path, f"must be an integer from {low} to {high}"

    return check


def flag(value: Any, path: str) -> Iterator[Violation]:
    """Accept a boolean."""
    if not isinstance(value, bool):
        yield path, "must be a boolean"


def one_of(*words: str) -> Rule:
    """Accept a word of an enumeration."""

    def check(value: Any, path: str) -> Iterator[Violation]:
        if not isinstance(value, str) or value not in words:
            yield path, f"must be one of {', '.join(words)}"

    return check


def list_of(item: Rule, *, fewest: int = 0, most: int | None = None) -> Rule:
    """Accept a list whose items are all accepted."""

    def check(value: Any, path: str) -> Iterator[Violation]:
        if not isinstance(value, list):
            yield path, "must be an array"
            return
        if len(value) < fewest or (most is not None and len(value) > most):
            yield path, f"size must be between {fewest} and {most}"
        for index, one in enumerate(value):
            yield from item(one, f"{path}[{index}]")

    return check


def fields(required: Mapping[str, Rule], optional: Mapping[str, Rule] | None = None) -> Rule:
    """Accept an object with all of the required names, and no other than those and the optional ones."""
    rules = {**required, **(optional or {})}

    def check(value: Any, path: str) -> Iterator[Violation]:
        if not isinstance(value, dict):
            yield path, "must be an object"
            return
        for name in required:
            if value.get(name) is None:
                yield _inside(path, name), "must not be null"
        for name, one in value.items():
            if name not in rules:
                yield _inside(path, name), "is not recognized"
            elif one is not None:
                yield from rules[name](one, _inside(path, name))

    return check


def _inside(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
