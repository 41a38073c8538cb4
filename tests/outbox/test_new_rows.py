"""The statement that inserts many rows has the constants of its rows in it."""

import sqlite3

from sqlalchemy import Column, Integer, MetaData, Table, Text

from gatepost.outbox.new_rows import MAX_PARAMETERS, NewRows

TABLE = Table(
    "things", MetaData(), Column("id", Text, primary_key=True), Column("name", Text), Column("size", Integer)
)


def stored(rows, statement):
    with sqlite3.connect(":memory:") as database:
        database.execute("CREATE TABLE things (id TEXT PRIMARY KEY, name TEXT, size INTEGER)")
        database.execute(statement, [value for row in rows for value in row])
        return database.execute("SELECT * FROM things ORDER BY id").fetchall()


def test_constants_are_the_same_in_all_rows():
    rows = [("a",), ("b",), ("a",)]
    new = NewRows(TABLE, ["id"], {"name": "it's", "size": 3})

    assert stored(rows, new.sqlite(3)) == [("a", "it's", 3), ("b", "it's", 3)]


def test_no_part_has_more_parameters_than_a_statement_may_have():
    rows = [(str(number), number) for number in range(MAX_PARAMETERS)]
    parts = [*NewRows(TABLE, ["id", "size"]).parts(rows)]

    assert [row for part in parts for row in part] == rows
    assert max(map(len, parts)) * 2 <= MAX_PARAMETERS
