"""The plan of a query on PostgreSQL, and the rights of its user, as warnings for an operator."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gatepost_sql.query import Statement

_SMALL_TABLE = 1000
"""Rows up to which it costs nothing to read a whole table."""

_CAST_COLUMN = re.compile(r"\((?:\w+\.)?(\w+)\)::(\w+)")

_TABLE = """
SELECT reltuples, has_table_privilege(oid, 'INSERT, UPDATE, DELETE, TRUNCATE') AS may_write
FROM pg_class WHERE oid = to_regclass($1)
"""

_COLUMN_TYPE = """
SELECT typname FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid
WHERE attrelid = to_regclass($1) AND attname = $2
"""


_MISSING_SETTINGS = """
SELECT string_agg(name, ' and ' ORDER BY name) FROM pg_settings
WHERE (name, setting) IN (('default_transaction_read_only', 'off'), ('statement_timeout', '0'))
"""


async def review(connection: Any, statement: Statement) -> Sequence[str]:
    """Return the warnings about a statement."""
    plan = await connection.fetchval(f"EXPLAIN (VERBOSE, FORMAT JSON) {statement.sql}", *statement.values)
    warnings: dict[str, None] = {}
    if missing := await connection.fetchval(_MISSING_SETTINGS):
        text = (
            f"a pooler before the database leaves out {missing}: set what is missing with ALTER ROLE ... SET"
        )
        warnings[text] = None
    for node in _nodes(json.loads(plan)[0]["Plan"]):
        if "Relation Name" not in node:
            continue
        name = f"{node.get('Schema', 'public')}.{node['Relation Name']}"
        quoted = ".".join(map(_quoted, name.split(".", 1)))
        found = await connection.fetchrow(_TABLE, quoted)
        if found is None:
            continue
        # Negative: the table was never analysed.
        if node["Node Type"] == "Seq Scan" and not 0 <= found["reltuples"] < _SMALL_TABLE:
            column = await _cast_column(connection, quoted, str(node.get("Filter", "")))
            warnings[_scan_warning(name, column)] = None
        if found["may_write"]:
            warnings[f"the user may write to {name}: give this plugin a user that can only read"] = None
    return list(warnings)


async def _cast_column(connection: Any, table: str, condition: str) -> str:
    """Return the column of a table that a condition casts, so that an index does not serve it; empty for none."""
    for column, target in _CAST_COLUMN.findall(condition):
        kind = await connection.fetchval(_COLUMN_TYPE, table, column)
        # PostgreSQL itself writes a varchar as a text, which an index serves.
        if kind is not None and (kind, target) != ("varchar", "text"):
            return str(column)
    return ""


def _scan_warning(name: str, column: str) -> str:
    if column:
        return (
            f"reads the whole of {name} for each lookup: it casts the column {column}, and an index of the column does "
            "not serve a cast. Compare the column itself, and cast the parameter where that is needed"
        )
    return f"reads the whole of {name} for each lookup: create an index for what it compares"


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for one in plan.get("Plans", ()):
        yield from _nodes(one)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
