"""The settings, and lookups in files of SQLite."""

import sqlite3
from contextlib import closing

import pytest
from sqlalchemy.dialects import registry

from gatepost.errors import ConfigError, Unavailable
from gatepost.model import BLOCKED, Channel, Contact, Secret
from gatepost_sql.testing.tables import FIND, FIND_USERS
from gatepost_sql.urls import url_warnings

QUERY = "SELECT * FROM players WHERE ext_user_id = :ext_user_id"


@pytest.fixture
def execute(tmp_path):
    """Return a function that runs a script in the database."""

    def run(script):
        with closing(sqlite3.connect(tmp_path / "players.db")) as connection:
            connection.executescript(script)

    return run


@pytest.fixture
def table():
    return {"url": "sqlite:///players.db", "query": QUERY}


@pytest.mark.parametrize("kind", ["INTEGER", "TEXT", "TEXT COLLATE NOCASE", "REAL", "BLOB", "NUMERIC"])
async def test_only_exactly_the_same_id_is_found(execute, running, kind):
    execute(
        f"CREATE TABLE players (ext_user_id {kind}, email); INSERT INTO players VALUES ('42', 'a@b.example'), ('ann', 'c@d.example')"
    )
    others = [
        "042",
        " 42",
        "42 ",
        "42.0",
        "4.2e1",
        "42\0",
        "ANN",
        "Ann ",
        "x" * 512,
        "\ud800",
        "%",
        "' OR 1=1 --",
    ]
    async with running() as plugin:
        if kind != "REAL":  # there 42 is 42.0
            assert await plugin.find_contact("42") == Contact(email=Secret("a@b.example"))
        assert await plugin.find_contact("ann") == Contact(email=Secret("c@d.example"))
        for other in others if kind != "REAL" else [one for one in others if one != "42.0"]:
            assert await plugin.find_contact(other) is None, ascii(other)
        assert set(await plugin.find_contacts(["ann", *others[6:]])) == {"ann"}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("NULL", ""), ("''", ""), ("' '", ""), ("0", ""), ("'False'", ""), ("'no'", ""),
        ("1", BLOCKED), ("'TRUE'", BLOCKED), ("'yes'", BLOCKED), ("'self-excluded'", "self-excluded"), ("2", "2"),
    ],
)  # fmt: skip
async def test_blocked_has_the_words_of_the_csv_plugin(execute, running, value, reason):
    execute(f"CREATE TABLE players (ext_user_id TEXT, blocked); INSERT INTO players VALUES ('ann', {value})")
    async with running() as plugin:
        assert (await plugin.find_contact("ann")).blocked == reason


async def test_other_columns_are_attributes(execute, running):
    execute(
        "CREATE TABLE players (ext_user_id TEXT, Email TEXT, PHONE TEXT, name, age, score, none); "
        "INSERT INTO players VALUES ('ann', 'a@b.example', ' ', 'Ann', 42, 0.5, NULL)"
    )
    async with running() as plugin:
        found = await plugin.find_contact("ann")
    assert found == Contact(
        email=Secret("a@b.example"), attributes={"name": "Ann", "age": "42", "score": "0.5"}
    )


@pytest.mark.parametrize(
    ("columns", "values", "problem"),
    [
        ("phone", "447700900123", "phone as something else than text"),
        ("email, photo", "'a@b.example', x'00ff'", "photo in a type without a usual text"),
    ],
)
async def test_a_value_that_is_no_text_is_never_guessed(execute, running, columns, values, problem):
    execute(
        f"CREATE TABLE players (ext_user_id TEXT, {columns}); INSERT INTO players VALUES ('ann', {values})"
    )
    async with running() as plugin:
        with pytest.raises(Unavailable, match=problem) as error:
            await plugin.find_contact("ann")
        assert error.value.misconfigured
        assert "7700" not in str(error.value)


async def test_a_scan_is_warned_of(execute, running, core):
    execute("CREATE TABLE players (ext_user_id TEXT, email TEXT)")
    async with running():
        assert core.warnings == [
            ("query", "reads the whole of players for each lookup: create an index for what it compares")
        ]


async def test_a_file_that_is_not_there_is_not_created(running, core, tmp_path):
    async with running() as plugin:
        with pytest.raises(Unavailable, match="the file can't be opened"):
            await plugin.find_contact("ann")
    assert not (tmp_path / "players.db").exists()


async def test_a_query_can_not_write(execute, running):
    execute("CREATE TABLE players (ext_user_id TEXT, email TEXT)")
    with pytest.raises(ConfigError, match="does not fit"):
        async with running(
            query="WITH a AS (SELECT 1) DELETE FROM players WHERE ext_user_id = :ext_user_id RETURNING email"
        ):
            pass


@pytest.mark.parametrize("name", ["ext_user_id", "email", "first_name"])
async def test_a_column_that_the_table_does_not_have_is_a_fault(execute, running, name):
    execute("CREATE TABLE players (id TEXT, email TEXT, name TEXT)")
    columns = {"ext_user_id": "id", "email": "email", "first_name": "name", name: "misspelt"}
    with pytest.raises(ConfigError, match="does not fit") as caught:
        async with running(query=None, table="players", columns=columns):
            pass
    assert [fault.key for fault in caught.value.faults] == ["table"]


@pytest.mark.parametrize("value", ["'{broken'", "CAST(x'ff' AS TEXT)"])
async def test_a_row_that_can_not_be_read_costs_that_user_alone(execute, running, value):
    users = [f"user{number}" for number in range(30)]
    execute(
        "CREATE TABLE players (ext_user_id TEXT, email TEXT, profile TEXT); "
        f"INSERT INTO players VALUES ('ann', 'a@b.example', {value})"
        + "".join(f", ('{user}', '{user}@b.example', '{{\"a\": 1}}')" for user in users)
    )
    profile = "json_extract(profile, '$.a')" if "broken" in value else "profile"
    query = f"SELECT ext_user_id, email, {profile} AS a FROM players WHERE ext_user_id = :ext_user_id"
    async with running(query=query) as plugin:
        found = await plugin.find_contacts(["ann", *users, "nobody"])
    assert isinstance(found.pop("ann"), Unavailable)
    assert {user: contact.email.reveal() for user, contact in found.items()} == {
        user: f"{user}@b.example" for user in users
    }


async def test_an_endless_query_ends_in_time(execute, running):
    execute("CREATE TABLE players (ext_user_id TEXT, email TEXT)")
    endless = (
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE :ext_user_id IS NOT NULL) "
        "SELECT 'ann' AS ext_user_id, max(i) AS email FROM n"
    )
    async with running(query=endless, context={"lookup_timeout": 0.2}, connections=1) as plugin:
        for _ in range(3):
            with pytest.raises(Unavailable, match=r"too long|in time"):
                await plugin.find_contact("ann")


async def test_find_user_returns_all_users_with_a_number(execute, running):
    execute(
        "CREATE TABLE players (id TEXT, email TEXT, phone TEXT, excluded TEXT, name TEXT); "
        "INSERT INTO players (id, phone) VALUES ('a', '+447700900123'), ('b', '+447700900123'), ('c', '+447700900124')"
    )
    async with running(query=FIND, user_query=FIND_USERS) as plugin:
        assert await plugin.find_user(Channel.SMS, Secret("+447700900123")) == ["a", "b"]
        assert await plugin.find_user(Channel.EMAIL, Secret("+447700900123")) == []


async def test_a_column_ext_user_id_that_goes_away_makes_no_unknown_users(execute, running):
    execute(
        "CREATE TABLE players (ext_user_id TEXT, email TEXT, phone TEXT); "
        "INSERT INTO players VALUES ('ann', 'a@b.example', '+447700900123')"
    )
    users = "SELECT * FROM players WHERE phone = :phone"
    query = "SELECT * FROM players WHERE 'ann' = :ext_user_id"
    async with running(query=query, user_query=users) as plugin:
        assert await plugin.find_contact("ann")
        assert await plugin.find_user(Channel.SMS, Secret("+447700900123")) == ["ann"]
        execute("ALTER TABLE players RENAME COLUMN ext_user_id TO id")
        with pytest.raises(Unavailable, match="does not return ext_user_id") as caught:
            await plugin.find_contact("ann")
        assert caught.value.misconfigured
        with pytest.raises(Unavailable, match="does not return ext_user_id"):
            await plugin.find_user(Channel.SMS, Secret("+447700900123"))


@pytest.mark.parametrize(
    ("keys", "faulty"),
    [
        ({"query": None}, ["query"]),
        ({"table": "players"}, ["query", "columns", "columns"]),
        ({"columns": {"email": "email"}}, ["columns"]),
        ({"query": None, "table": "a..b", "columns": {"ext_user_id": "id", "phone": "p"}}, ["table"]),
        ({"query": None, "table": "p", "columns": {"ext_user_id": "id", "name": "n"}}, ["columns"]),
        ({"query": None, "table": "p", "columns": {"ext_user_id": "id", "email": ""}}, ["columns"]),
        ({"url": "sqlite://"}, ["url"]),
        ({"url": "sqlite:///p.db?timeout=1"}, ["url"]),
        ({"url": "nothing"}, ["url"]),
        ({"url": "oracle+none://user:hunter2@h/p"}, ["url"]),
        ({"url": "mysql://user:hun@ter2@h:x/p"}, ["url"]),
        ({"user_query": "SELECT id FROM p WHERE phone = :number"}, ["user_query"]),
    ],
)  # fmt: skip
def test_settings_that_do_not_go_together_are_faults(make_plugin, keys, faulty):
    with pytest.raises(ConfigError) as error:
        make_plugin(**keys)
    assert [fault.key for fault in error.value.faults] == faulty
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        *(f"postgresql://u:hunter2@127.0.0.1:1/p?{option}" for option in (
            "sslmode=verify-ful", "sslmode=verify-full&sslrootcert=nosuch.pem", "target_session_attrs=standbyy",
            "sslmode=require&sslcert=nosuch.pem", "host", "sslmode=verify-full&sslrootcert=empty.pem",
        )),
        "postgresql://u:hunter2@127.0.0.1:x/p",
        "postgresql://u:hunter2@[::1/p",
        *(f"mysql://u:hunter2@127.0.0.1:1/p?{option}" for option in (
            "ssl_ca=nosuch.pem", "ssl=true", "sslmode=required", "read_timeout=long",
        )),
    ],
)  # fmt: skip
async def test_a_url_that_the_driver_does_not_take_is_a_fault(running, tmp_path, url):
    (tmp_path / "empty.pem").touch()
    with pytest.raises(ConfigError) as caught:
        async with running(url=url.replace("empty.pem", str(tmp_path / "empty.pem"))):
            pass
    assert [fault.key for fault in caught.value.faults] == ["url"]
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("postgresql://u:p@db.internal/p", True),
        ("postgresql://u:p@127.0.0.1,db.internal:5433/p", True),
        ("postgresql://u:p@db.internal/p?sslmode=verify-full", False),
        ("postgresql://u:p@[::1]/p", False),
        ("postgresql:///p?host=/run/postgresql", False),
        ("mariadb://u:p@db.internal/p", True),
        ("mysql://u:p@db.internal/p?ssl_ca=/etc/ca.pem", False),
        ("mysql://u:p@localhost:3306/p", False),
        ("postgresql+asyncpg://u:p@db.internal/p", True),
        ("mysql+pymysql://u:p@db.internal/p", True),
    ],
)
def test_a_way_over_the_network_without_tls_is_warned_of(url, warned):
    assert bool(list(url_warnings(Secret(url)))) == warned


def test_a_database_that_is_not_tested_has_no_batches(make_plugin):
    registry.register("untested", "sqlalchemy.dialects.sqlite.pysqlite", "SQLiteDialect_pysqlite")
    plugin = make_plugin(url="untested:///players.db")
    assert plugin.find_contacts is None
    assert plugin.find_user is None


@pytest.mark.parametrize(
    "scheme", ["sqlite+pysqlite", "mysql+pymysql", "mariadb+pymysql", "postgresql+asyncpg"]
)
def test_a_url_as_sqlalchemy_spells_it_leads_to_the_same_driver(make_plugin, scheme):
    path = "/players.db" if scheme.startswith("sqlite") else "u:p@localhost/p"
    assert make_plugin(url=f"{scheme}://{path}").find_contacts
