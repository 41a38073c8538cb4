"""An operator's query: its parameters, and its text for a driver."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from gatepost.errors import ConfigError, Fault

_COMMON = r"""
    --[^\n]*                        # a comment
  | /\*.*?\*/
  | `(?:[^`]|``)*`                  # a name
  | [eE]'(?:[^'\\]|\\.|'')*'        # a text with escapes
"""
_STANDARD = r"""
  | '(?:[^']|'')*'
  | "(?:[^"]|"")*"
  | \$(?P<tag>[A-Za-z_]*)\$.*?\$(?P=tag)\$
"""
_MYSQL = r"""
  | '(?:[^'\\]|\\.|'')*'
  | "(?:[^"\\]|\\.|"")*"
  | \#[^\n]*
"""
_CODE = r"""
  | ::                              # a cast
  | (?<![:\w]):(?P<name>[A-Za-z_]\w*)
  | (?P<end>;)
"""
_FLAGS = re.VERBOSE | re.DOTALL
_TOKENS = {
    False: re.compile(_COMMON + _STANDARD + _CODE, _FLAGS),
    True: re.compile(_COMMON + _MYSQL + _CODE, _FLAGS),
}
_COMMENT = re.compile(r"\s+|--[^\n]*(?:\n|$)|/\*.*?\*/", re.DOTALL)
_READS = re.compile(r"(?:select|with)\b", re.IGNORECASE)


class Parameter(NamedTuple):
    """A place in a query where a value stands."""

    name: str


class Query(NamedTuple):
    """A query: texts and parameters, in order."""

    key: str
    """The setting that it comes from."""
    parts: Sequence[str | Parameter]

    @property
    def parameters(self) -> Sequence[str]:
        """The names of the parameters, each once, in order."""
        return list(dict.fromkeys(part.name for part in self.parts if isinstance(part, Parameter)))

    def text(self, marker: Callable[[str], str], escape: Callable[[str], str] = str) -> str:
        """Return the query with a driver's markers; ``escape`` is applied to all other text."""
        return "".join(
            marker(part.name) if isinstance(part, Parameter) else escape(part) for part in self.parts
        )


class Statement(NamedTuple):
    """A query for a driver, with its values."""

    sql: str
    values: Sequence[object] | Mapping[str, object]


def parse_query(key: str, text: str, parameters: Sequence[str], *, mysql: bool) -> Query:
    """Parse the query of the setting ``key``, which has one at least of these parameters and no other.

    Raises ConfigError. A parameter inside of a text, a quoted name or a comment is none.
    """
    text = text.strip()
    parts: list[str | Parameter] = []
    position = 0
    for token in _TOKENS[mysql].finditer(text):
        if token["end"] and _strip_comments(text[token.end() :]):
            raise ConfigError([Fault(key, "holds a semicolon: write one query without one")])
        if token["name"] or token["end"]:
            parts.append(text[position : token.start()])
            position = token.end()
        if token["name"]:
            parts.append(Parameter(token["name"]))
    query = Query(key, [*parts, text[position:]])
    if problem := _problem(text, query.parameters, parameters):
        raise ConfigError([Fault(key, problem)])
    return query


def _problem(text: str, found: Sequence[str], parameters: Sequence[str]) -> str:
    names = " and ".join(f":{name}" for name in parameters)
    if not _READS.match(_strip_comments(text)):
        return "must begin with SELECT or WITH: a lookup only reads"
    if unknown := [name for name in found if name not in parameters]:
        return f"has the unknown parameter :{unknown[0]}; it can have {names}"
    if not found:
        return (
            f"has no parameter, so that every user would get the same contact: it must compare with {names}"
        )
    return ""


def _strip_comments(text: str) -> str:
    """Return a text without the blanks and comments that it begins with."""
    while found := _COMMENT.match(text):
        text = text[found.end() :]
    return text


def table_query(table: str, columns: Mapping[str, str], mark: str) -> str:
    """Return the query that finds a user in a table; ``columns`` has the names of the table's columns by ours.

    ``mark`` is the character around a quoted name.
    """

    def quote(name: str) -> str:
        return mark + name.replace(mark, 2 * mark) + mark

    selected = ", ".join(f"{quote(column)} AS {quote(name)}" for name, column in columns.items())
    source = ".".join(map(quote, table.split(".")))
    return f"SELECT {selected} FROM {source} WHERE {quote(columns['ext_user_id'])} = :ext_user_id"  # noqa: S608  quoted


def bind(query: Query, style: str, values: Mapping[str, object]) -> Statement:
    """Return a query in a paramstyle of PEP 249, or in ``numeric_dollar``; drivers with ``pyformat`` take ``format`` too."""
    order = query.parameters
    if style == "named":
        return Statement(query.text(":{}".format), {name: values[name] for name in order})
    if style.startswith("numeric"):
        shape = "${}" if style == "numeric_dollar" else ":{}"
        sql = query.text(lambda name: shape.format(order.index(name) + 1))
        return Statement(sql, tuple(values[name] for name in order))
    occurrences = [part.name for part in query.parts if isinstance(part, Parameter)]
    mark, escape = ("?", str) if style == "qmark" else ("%s", _double_percent)
    return Statement(query.text(lambda _: mark, escape), tuple(values[name] for name in occurrences))


def limited(sql: str, limit: int) -> str:
    """Return a query that returns ``limit`` rows at most, for a database that has LIMIT."""
    # On lines of its own: the query may end with a comment.
    return f"SELECT * FROM (\n{sql}\n) AS found LIMIT {limit}"  # noqa: S608  the operator's own query


def _double_percent(text: str) -> str:
    return text.replace("%", "%%")
