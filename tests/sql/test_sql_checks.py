"""What is checked when the plugin opens: faults of the query, and warnings about its plan and its user."""

import pytest

from gatepost.errors import ConfigError
from gatepost_sql.testing.tables import FIND


async def faults(running, **settings):
    with pytest.raises(ConfigError) as caught:
        async with running(**settings):
            pass
    return [(fault.key, fault.problem) for fault in caught.value.faults]


@pytest.fixture
def created(players):
    players.create()
    return players


@pytest.mark.parametrize(
    ("selected", "problem"),
    [
        (
            "id AS ext_user_id, name",
            "returns none of the columns email, phone and blocked, but ext_user_id, name",
        ),
        ("id AS ext_user_id, email, email", "two columns with the name email"),
        ("id AS ext_user_id, 42 AS phone", "returns phone as something else than text"),
        ("id AS ext_user_id, 4.2 AS email", "returns email as something else than text"),
        ("nothing AS email", "does not fit the database"),
        ("email FROM nowhere, players --", "does not fit the database"),
    ],
)
async def test_a_query_that_gives_no_contacts_is_a_fault(created, running, selected, problem):
    query = f"SELECT {selected}\nFROM players WHERE id = :ext_user_id".replace("--\nFROM players", "")
    if "two columns" in problem and created.scheme == "mariadb":
        problem = "(1060)"  # the server's own error says it
    ((key, text),) = await faults(running, query=query)
    assert key == "query"
    assert problem in text


@pytest.mark.parametrize("condition", ["id = :ext_user_id", "lower(id) = lower(:ext_user_id)"])
async def test_the_id_must_be_returned(created, running, condition):
    ((key, text),) = await faults(running, query=f"SELECT email FROM players WHERE {condition}")
    assert key == "query"
    assert "must return the user's id too, as the column ext_user_id" in text


async def test_a_query_for_users_must_return_their_ids(created, running):
    ((key, text),) = await faults(running, user_query="SELECT id FROM players WHERE phone = :phone")
    assert key == "user_query"
    assert "must return the column ext_user_id" in text


@pytest.mark.parametrize("players", ["postgres"], indirect=True)
async def test_a_query_for_users_must_compare_texts(created, running):
    created.run("ALTER TABLE players ALTER phone TYPE bigint USING phone::bigint")
    query = "SELECT id AS ext_user_id, CAST(phone AS text) AS phone FROM players WHERE id = :ext_user_id"
    by_phone = "SELECT id AS ext_user_id FROM players WHERE email = :email OR phone = :phone"
    ((key, text),) = await faults(running, query=query, user_query=by_phone)
    assert key == "user_query"
    assert "compares :phone with the type int8" in text


async def test_an_index_and_a_reader_are_no_reason_to_warn(created, running, core):
    async with running(user_query=None):
        assert core.warnings == []


async def test_a_scan_is_warned_of(created, running, core):
    async with running(query=FIND.replace("id = :", "name = :"), user_query=None):
        ((key, text),) = core.warnings
    assert key == "query"
    assert "players for each lookup" in text


@pytest.mark.parametrize("players", ["postgres"], indirect=True)
async def test_an_index_that_a_cast_defeats_is_warned_of(players, running, core):
    players.create("bigint")
    async with running(query=FIND.replace("WHERE id", "WHERE CAST(id AS text)"), user_query=None):
        ((_, text),) = core.warnings
    assert "it casts the column id" in text


async def test_a_user_who_may_write_is_warned_of(created, running, core):
    grantee = created.role if created.scheme == "postgresql" else f"{created.role}@'%'"
    created.run(f"GRANT UPDATE ON players TO {grantee}")
    async with running(user_query=None):
        ((_, text),) = core.warnings
    assert "may write" in text


async def test_a_table_and_its_columns_make_the_query(created, running, core):
    created.run("INSERT INTO players (id, email, name) VALUES ('ann', 'ann@players.example', 'Ann')")
    columns = {"ext_user_id": "id", "email": "email", "first_name": "name"}
    async with running(query=None, table="players", columns=columns, user_query=None) as plugin:
        found = await plugin.find_contact("ann")
        assert core.warnings == []
    assert found.email.reveal() == "ann@players.example"
    assert found.attributes == {"first_name": "Ann"}
    assert found.phone is None


@pytest.mark.parametrize("players", ["postgres"], indirect=True)
@pytest.mark.parametrize("option", ["ssl=true", "statement_timeot=5", "work_mem=much"])
async def test_an_option_that_the_server_does_not_take_is_a_fault_of_the_url(created, running, option):
    ((key, text),) = await faults(running, url=f"{created.url}?{option}")
    assert key == "url"
    assert "is refused by the database" in text


@pytest.mark.parametrize("players", ["postgres"], indirect=True)
async def test_a_user_who_may_not_connect_is_a_fault_of_the_url(created, running):
    created.run(f"REVOKE CONNECT ON DATABASE {created.database} FROM PUBLIC")
    ((key, text),) = await faults(running)
    assert key == "url"
    assert "42501" in text
