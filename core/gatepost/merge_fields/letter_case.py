"""The filters that change the case of letters."""

import re

_WORD = re.compile(r"[^\s'’-]+")


def with_case(used: str, value: str, language: str) -> str:
    """Return the value after one of the filters upper, lower, title and capitalize."""
    if used == "upper":
        return _upper(value, language)
    if used == "lower":
        return _lower(value, language)
    if used == "capitalize":
        return _capital(value, language)
    return _WORD.sub(lambda word: _capital(word.group(), language), value)


def _capital(word: str, language: str) -> str:
    first = _upper(word[0], language) if word[0] in "iı" else word[0].title()
    return first + _lower(word[1:], language)


def _upper(text: str, language: str) -> str:
    return (text.replace("i", "İ") if _has_dotless_i(language) else text).upper()


def _lower(text: str, language: str) -> str:
    if _has_dotless_i(language):
        text = text.replace("I", "ı")
    # Python writes a dot of its own after the i, for the other languages' İ.
    return text.replace("İ", "i").lower()


def _has_dotless_i(language: str) -> bool:
    return language[:2].lower() in {"tr", "az"} and not language[2:3].isalpha()
