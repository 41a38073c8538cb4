"""The condition that a column has one of several values, with all of them in one parameter.

With a parameter for each value, as SQLAlchemy's ``in_`` has it, each number of values is a statement of its own: its text
is built at every execution, and PostgreSQL prepares each of them.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ARRAY, ColumnElement, Dialect, Text, TypeDecorator, bindparam, type_coerce
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

IDS: ColumnElement[Any] = bindparam("ids")
"""The parameter of a statement about many rows: ``one_of(column, IDS)``."""


class _List(TypeDecorator[Sequence[Any]]):
    """A list as one parameter: an array on PostgreSQL, JSON on SQLite."""

    impl = ARRAY
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Text()) if dialect.name == "sqlite" else self.impl_instance

    def process_bind_param(self, value: Sequence[Any] | None, dialect: Dialect) -> Any:
        return msgspec.json.encode(value).decode() if dialect.name == "sqlite" else value


class _OneOf(FunctionElement[bool]):
    inherit_cache = True


def one_of(column: ColumnElement[Any], values: ColumnElement[Any] | Sequence[Any]) -> ColumnElement[bool]:
    """Return the condition that the column has one of these values.

    ``values`` is a list, or the parameter that gets one. A text in it holds no NUL.
    """
    return _OneOf(column, type_coerce(values, _List(column.type)))


@compiles(_OneOf, "postgresql")
def _in_array(condition: _OneOf, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(one, **options) for one in condition.clauses)
    return f"{column} = ANY ({values})"


@compiles(_OneOf, "sqlite")
def _in_json(condition: _OneOf, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(one, **options) for one in condition.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608  of the compiler, not of a request
