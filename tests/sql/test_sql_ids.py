"""Only the user with exactly the id that was asked for is found, whatever the column's type and collation."""

import pytest

from gatepost.model import Contact, Secret
from gatepost_sql import lookups

UUID_ID = "6f1c2f0e-54b1-4c8a-9f0a-0123456789ab"
OTHERS_OF_42 = (
    *(
        "042",
        "0042",
        " 42",
        "42 ",
        "42\t",
        "+42",
        "42.0",
        "4.2e1",
        "0x2A",
        "42abc",
        "４２",
        "-42",
        "4",
        "422",
    ),
    *("42\0", "42' OR '1'='1", "42 OR 1=1", "%", "_2", "*", "9" * 512, "x" * 512, "😀" * 512, "\ud800"),
    *("9223372036854775808", "-9223372036854775809", "null", "NULL", "true", ""),
)
OTHERS_OF_ANN = ("ANN", "Ann", "ann ", " ann", "ánn", "a\u0301nn", "ann\0", "an", "an%", "☃", "0", "ａｎｎ")

POSTGRES_TYPES = ["text", "varchar(512)", "char(20)", "smallint", "int", "bigint", "numeric"]
MARIADB_TYPES = [
    *("INT", "BIGINT UNSIGNED", "CHAR(20)", "VARCHAR(191) CHARACTER SET latin1"),
    *("VARCHAR(191) COLLATE utf8mb4_general_ci", "VARCHAR(191) COLLATE utf8mb4_bin", "DECIMAL(20)"),
]


async def assert_found_alone(running, user, others):
    async with running() as plugin:
        for wanted in (user, *others):
            found = await plugin.find_contact(wanted)
            assert (found is not None) == (wanted == user), ascii(wanted[:24])
        assert set(await plugin.find_contacts([user, *others])) == {user}
        for other in others:
            assert set(await plugin.find_contacts([other, user])) == {user}, ascii(other[:24])


def add_users(players, id_type, *users):
    players.create(id_type)
    players.add({user: Contact(email=Secret(f"{user}@players.example")) for user in users})


@pytest.mark.parametrize("id_type", POSTGRES_TYPES)
@pytest.mark.parametrize("players", ["postgres"], indirect=True)
async def test_an_integer_is_found_by_its_one_spelling_in_postgresql(players, running, id_type):
    add_users(players, id_type, "42", "0")
    await assert_found_alone(running, "42", OTHERS_OF_42)


@pytest.mark.parametrize("id_type", MARIADB_TYPES)
@pytest.mark.parametrize("players", ["mariadb"], indirect=True)
async def test_an_integer_is_found_by_its_one_spelling_in_mariadb(players, running, id_type):
    add_users(players, id_type, "42", "0")
    await assert_found_alone(running, "42", [other for other in OTHERS_OF_42 if other])


@pytest.mark.parametrize("id_type", [one for one in POSTGRES_TYPES if "char" in one or one == "text"])
@pytest.mark.parametrize("players", ["postgres"], indirect=True)
async def test_a_text_is_found_character_by_character_in_postgresql(players, running, id_type):
    add_users(players, id_type, "ann")
    await assert_found_alone(running, "ann", OTHERS_OF_ANN)


@pytest.mark.parametrize("id_type", [one for one in MARIADB_TYPES if "CHAR" in one])
@pytest.mark.parametrize("players", ["mariadb"], indirect=True)
async def test_a_text_is_found_character_by_character_in_mariadb(players, running, id_type):
    add_users(players, id_type, "ann")
    await assert_found_alone(running, "ann", OTHERS_OF_ANN)


@pytest.mark.parametrize("players", ["postgres"], indirect=True)
async def test_a_uuid_is_found_by_its_canonical_spelling(players, running):
    add_users(players, "uuid", UUID_ID)
    await assert_found_alone(
        running, UUID_ID, [UUID_ID.upper(), UUID_ID.replace("-", ""), f"{{{UUID_ID}}}", "42"]
    )


@pytest.mark.parametrize("players", ["postgres"], indirect=True)
async def test_a_server_that_stores_no_unicode_knows_no_such_user(players, running):
    players.run("CREATE DATABASE latin ENCODING latin1 LOCALE 'C' TEMPLATE template0")
    players.database = "latin"
    players.url = f"postgresql://postgres:x@127.0.0.1:{players.proxy.port}/latin"
    add_users(players, "text", "ann")
    async with running(**players.table) as plugin:
        for user in ("☃", "😀", "ann☃"):
            assert await plugin.find_contact(user) is None
            assert set(await plugin.find_contacts([user, "ann"])) == {"ann"}


@pytest.mark.parametrize("condition", ["id LIKE :ext_user_id", "lower(id) = lower(:ext_user_id)"])
async def test_a_loose_comparison_finds_nobody_else(players, running, condition):
    add_users(players, "VARCHAR(100)", "ann")
    query = f"SELECT id AS ext_user_id, email FROM players WHERE {condition}"
    async with running(query=query) as plugin:
        assert await plugin.find_contact("%") is None
        assert await plugin.find_contact("ANN") is None
        assert set(await plugin.find_contacts(["ann", "ANN", "%"])) == {"ann"}


async def test_names_of_the_query_do_not_capture_its_parameter(players, running):
    add_users(players, "VARCHAR(100)", "ann", "bob")
    query = (
        "SELECT wanted.id AS ext_user_id, wanted.email FROM players AS wanted WHERE wanted.id = :ext_user_id"
    )
    async with running(query=query) as plugin:
        found = await plugin.find_contacts(["ann", "bob"])
    assert {one: contact.email.reveal() for one, contact in found.items()} == {
        one: f"{one}@players.example" for one in ("ann", "bob")
    }


@pytest.mark.parametrize("players", ["mariadb"], indirect=True)
async def test_the_greatest_unsigned_integer_is_found(players, running):
    greatest = str(2**64 - 1)
    add_users(players, "BIGINT UNSIGNED", greatest)
    await assert_found_alone(running, greatest, [str(2**64), "-1", str(2**63)])


async def test_an_id_is_found_after_its_column_became_wider(players, running, monkeypatch):
    great = "3000000000"
    add_users(players, "INT", "42")
    async with running() as plugin:
        assert await plugin.find_contact("42")
        players.run(
            "ALTER TABLE players ALTER id TYPE bigint"
            if players.scheme == "postgresql"
            else "ALTER TABLE players MODIFY id VARCHAR(20)"
        )
        if players.scheme == "mariadb":
            great = "ann"
        players.add({great: Contact(email=Secret("great@players.example"))})
        assert await plugin.find_contact(great) is None, "the type is looked at once a minute at most"
        monkeypatch.setattr(lookups, "TYPE_INTERVAL", 0.0)
        assert await plugin.find_contact(great)
        assert set(await plugin.find_contacts(["42", great, "43"])) == {"42", great}
