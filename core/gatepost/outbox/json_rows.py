"""Several values for each of many rows as one parameter, so that a statement is the same for any number of rows."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

_SQLITE = "json_each(:{})", "json_extract(value, '$[{}]')"
_POSTGRESQL = "json_array_elements(CAST(:{} AS JSON)) AS elements (value)", "value ->> {}"


def json_rows(parameter: str, columns: Mapping[str, str], *, postgresql: bool) -> str:
    """Return the subquery of the rows in this parameter, with the SQL type of each of its columns."""
    rows, item = _POSTGRESQL if postgresql else _SQLITE
    values = ", ".join(
        f"CAST({item.format(place)} AS {sql_type}) AS {name}"
        for place, (name, sql_type) in enumerate(columns.items())
    )
    return f"(SELECT {values} FROM {rows.format(parameter)})"  # noqa: S608  constants of this package


def encoded_rows(rows: Iterable[Sequence[object]]) -> str:
    """Return the value of the parameter; no text in it holds NUL."""
    return msgspec.json.encode(list(rows)).decode()
