"""Which queries are taken, and what the driver gets of them."""

import pytest

from gatepost.errors import ConfigError
from gatepost_sql.query import bind, parse_query, table_query

ID = ("ext_user_id",)


def parse(text, mysql=False):
    return parse_query("query", text, ID, mysql=mysql)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("SELECT email FROM players", "has no parameter"),
        ("SELECT email FROM players WHERE id = ':ext_user_id'", "has no parameter"),
        ("SELECT email FROM players -- :ext_user_id", "has no parameter"),
        ("SELECT email FROM players /* :ext_user_id */", "has no parameter"),
        (
            "SELECT email FROM players WHERE id = :ext_user_id AND brand = :brand",
            "the unknown parameter :brand",
        ),
        ("SELECT email FROM players WHERE id = :user", "the unknown parameter :user"),
        ("DELETE FROM players WHERE id = :ext_user_id", "must begin with SELECT or WITH"),
        ("UPDATE players SET email = '' WHERE id = :ext_user_id", "must begin with SELECT or WITH"),
        ("/* SELECT */ DELETE FROM players WHERE id = :ext_user_id", "must begin with SELECT or WITH"),
        ("SELECT 1 WHERE '' <> :ext_user_id; DROP TABLE players", "holds a semicolon"),
        ("", "must begin with SELECT or WITH"),
    ],
)
def test_a_query_that_is_no_lookup_is_a_fault(text, problem):
    with pytest.raises(ConfigError, match=problem) as error:
        parse(text)
    assert [fault.key for fault in error.value.faults] == ["query"]


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("SELECT email FROM p WHERE id = :ext_user_id", "SELECT email FROM p WHERE id = ?"),
        ("SELECT email FROM p WHERE id = :ext_user_id; -- the end", "SELECT email FROM p WHERE id = ? -- the end"),
        ("SELECT a::text, ':x', \":y\" FROM p WHERE i = :ext_user_id::int", "SELECT a::text, ':x', \":y\" FROM p WHERE i = ?::int"),
        ("SELECT $$:x$$, $a$ :y $a$ WHERE '' <> :ext_user_id", "SELECT $$:x$$, $a$ :y $a$ WHERE '' <> ?"),
        ("SELECT 'it''s :x', E'\\':x' WHERE '' <> :ext_user_id", "SELECT 'it''s :x', E'\\':x' WHERE '' <> ?"),
        ("-- why :x\nWITH a AS (SELECT :ext_user_id AS i) SELECT i FROM a", "-- why :x\nWITH a AS (SELECT ? AS i) SELECT i FROM a"),
    ],
)  # fmt: skip
def test_only_a_parameter_is_replaced(text, sql):
    assert bind(parse(text), "qmark", {"ext_user_id": "ann"}) == (sql, ("ann",))


def test_mysql_has_escapes_and_comments_of_its_own():
    statement = bind(
        parse("SELECT '\\':x' # :y\nWHERE '' <> :ext_user_id", mysql=True), "qmark", {"ext_user_id": "a"}
    )
    assert statement == ("SELECT '\\':x' # :y\nWHERE '' <> ?", ("a",))


@pytest.mark.parametrize(
    ("style", "sql", "values"),
    [
        ("qmark", "SELECT '%' WHERE ? = ?", ("a", "a")),
        ("format", "SELECT '%%' WHERE %s = %s", ("a", "a")),
        ("pyformat", "SELECT '%%' WHERE %s = %s", ("a", "a")),
        ("named", "SELECT '%' WHERE :ext_user_id = :ext_user_id", {"ext_user_id": "a"}),
        ("numeric", "SELECT '%' WHERE :1 = :1", ("a",)),
        ("numeric_dollar", "SELECT '%' WHERE $1 = $1", ("a",)),
    ],
)
def test_each_driver_gets_its_own_markers(style, sql, values):
    query = parse("SELECT '%' WHERE :ext_user_id = :ext_user_id")
    assert bind(query, style, {"ext_user_id": "a"}) == (sql, values)


@pytest.mark.parametrize("mark", ['"', "`"])
def test_names_of_a_table_are_quoted(mark):
    text = table_query('crm.pl"ay`ers', {"ext_user_id": "id", "email": "a:b; --"}, mark)
    assert parse(text).parameters == ["ext_user_id"]
    expected = (
        'SELECT `id` AS `ext_user_id`, `a:b; --` AS `email` FROM `crm`.`pl"ay``ers` WHERE `id` = :ext_user_id'
        if mark == "`"
        else 'SELECT "id" AS "ext_user_id", "a:b; --" AS "email" FROM "crm"."pl""ay`ers" WHERE "id" = :ext_user_id'
    )
    assert text == expected
