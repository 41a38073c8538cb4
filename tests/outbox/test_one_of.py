"""The condition that a column has one of several values, on both databases."""

import pytest
from sqlalchemy import event, insert, select, update

from gatepost.outbox.one_of import IDS, one_of
from gatepost.outbox.schema import attempts, contents, messages, queues, statuses
from gatepost.outbox.transaction import MAX_IDS

pytestmark = pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)

KEYS = [messages.c.id, contents.c.message_id, attempts.c.message_id, statuses.c.message_id, statuses.c.seq]
TEXTS = ["a", "b", "it's", '"quoted", {braces}', "back\\slash", "NULL", "", "é😀"]


def executed(connection):
    """Return the list in which each further statement and its parameters are noted."""
    noted: list[tuple[str, object]] = []
    event.listen(connection, "before_cursor_execute", lambda *arguments: noted.append(arguments[2:4]))
    return noted


async def contents_where(store, condition, **parameters):
    """Return the keys of the rows of contents that meet the condition; there is one for each of TEXTS."""

    def work(connection):
        connection.execute(insert(contents), [{"message_id": one, "content": b""} for one in TEXTS])
        found = set(connection.execute(select(contents.c.message_id).where(condition), parameters).scalars())
        connection.rollback()
        return found

    return await store._database.transact(work)


@pytest.mark.parametrize("wanted", [[], ["a"], ["a", "a", "unknown"], TEXTS, TEXTS[2:]])
async def test_the_rows_with_one_of_the_values_are_found_and_no_others(store, wanted):
    by_list, by_parameter = one_of(contents.c.message_id, wanted), one_of(contents.c.message_id, IDS)

    assert await contents_where(store, by_list) == set(wanted) & set(TEXTS)
    assert await contents_where(store, by_parameter, ids=wanted) == set(wanted) & set(TEXTS)
    assert await contents_where(store, ~by_list) == set(TEXTS) - set(wanted)


async def test_numbers_are_found(store):
    def work(connection):
        rows = [{"channel": "email", "route": str(number), "client": ""} for number in range(3)]
        connection.execute(insert(queues), rows)
        first = connection.execute(select(queues.c.id).order_by(queues.c.id)).scalars().first()
        wanted = [first, first + 2, 2**31 - 1]
        return connection.execute(select(queues.c.route).where(one_of(queues.c.id, wanted))).scalars().all()

    assert sorted(await store._database.transact(work)) == ["0", "2"]


def plan(connection, statement, parameters):
    """Return the plan that the gateway's connection has for a statement, as one text."""
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
    else:
        # The plan that is kept for all executions, as with the gateway's own statements.
        connection.exec_driver_sql(f"PREPARE lookup AS {statement}")
        rows = connection.exec_driver_sql("EXPLAIN EXECUTE lookup ('{}')")
    return "\n".join(str(row[-1]) for row in rows)


@pytest.mark.parametrize("column", KEYS, ids=str)
@pytest.mark.parametrize("build", [select, update], ids=["select", "update"])
async def test_any_number_of_values_is_looked_up_in_an_index_by_the_same_statement(store, column, build):
    if build is select:
        statement = select(column).where(one_of(column, IDS)).order_by(column).with_for_update()
    else:
        statement = update(column.table).where(one_of(column, IDS)).values({column: column})
    values = [column.type.python_type(number) for number in range(MAX_IDS)]

    def work(connection):
        noted = executed(connection)
        connection.execute(statement, {"ids": values[:1]})
        connection.execute(statement, {"ids": values})
        (one, parameters), (many, _) = noted
        assert one == many
        return plan(connection, one, parameters)

    steps = await store._database.transact(work)

    # SQLite's words, then PostgreSQL's.
    assert f"SEARCH {column.table.name} USING" in steps or f"Index Cond: ({column.name} = ANY ($1" in steps
