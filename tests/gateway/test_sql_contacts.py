"""A whole gateway with its contacts in each database: the way of a message from Smartico to the provider and back."""

import sqlite3
from contextlib import asynccontextmanager, closing

import pytest

from gatepost.model import Contact, Secret
from gatepost_sql.testing.tables import FIND, INSERT, TABLE, rows_of
from sql.players import MariaPlayers, PostgresPlayers
from sql.proxy import Fault, Proxy

PLAYERS = {
    "anna": Contact(email=Secret("anna@players.example")),
    "excluded": Contact(email=Secret("excluded@players.example"), blocked="self-excluded"),
}


@asynccontextmanager
async def on_server(players):
    async with Proxy(players.upstream) as proxy:
        players.connect(proxy)
        players.create()
        players.add(PLAYERS)
        yield players.url, proxy


@pytest.fixture(params=["postgresql", "mariadb", "sqlite"])
async def database(request, tmp_path):
    """The URL of a database with players, and the proxy in front of it."""
    if request.param == "sqlite":
        with closing(sqlite3.connect(tmp_path / "players.db")) as connection, connection:
            connection.execute(TABLE.format("TEXT"))
            connection.executemany(INSERT.format("?", "?", "?", "?"), rows_of(PLAYERS))
        yield "sqlite:///players.db", None
    elif request.param == "postgresql":
        async with on_server(PostgresPlayers(request.getfixturevalue("postgres_server"))) as found:
            yield found
    else:
        async with on_server(MariaPlayers(request.getfixturevalue("mariadb_server"))) as found:
            yield found


async def test_a_message_goes_from_smartico_to_a_user_of_the_database(deployment, sendgrid, database):
    url, _ = database
    deployment.tables["plugins.players"] = {"use": "sql", "url": url, "query": FIND}
    async with deployment.running(email=["sendgrid-main"]):
        message = await deployment.email("anna")
        await deployment.hears(message, "accepted")
        assert (await deployment.crm.send_email(ext_user_id="Anna"))["error_code"] == 1
        assert (await deployment.crm.send_email(ext_user_id="excluded"))["error_code"] == 13
    (taken,) = sendgrid.taken
    assert taken.message["personalizations"][0]["to"][0]["email"] == "anna@players.example"


async def test_a_message_waits_while_the_database_is_away(deployment, sendgrid, database):
    url, proxy = database
    if proxy is None:
        pytest.skip("a file has no network that could fail")
    deployment.tables["plugins.players"] = {"use": "sql", "url": url, "query": FIND}
    async with deployment.running(email=["sendgrid-main"]):
        proxy.fault = Fault.REFUSE
        proxy.drop()
        message = await deployment.email("anna")
        proxy.fault = None
        await deployment.hears(message, "accepted")
