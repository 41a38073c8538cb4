"""Two servers of PostgreSQL: a failover, and a standby that is behind."""

import asyncio
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import asyncpg
import pytest

from gatepost.errors import Unavailable
from gatepost.model import Contact, Secret
from gatepost_sql import plugin as plugin_module
from gatepost_sql import postgresql
from sql.proxy import Fault, Proxy

ANN = {"ann": Contact(email=Secret("ann@players.example"))}


@pytest.fixture
def standby(postgres_server):
    """A folder with a running standby of the server, on a Unix socket."""
    # The server does not run as root: its programs get its own user, who can't enter pytest's folders.
    owner = postgres_server._folder
    user = owner.stat().st_uid
    with tempfile.TemporaryDirectory(prefix="gatepost-standby-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        shutil.chown(folder, user)

        def run(*arguments):
            command = [str(one) for one in arguments]
            done = subprocess.run(command, check=False, capture_output=True, text=True, user=user, cwd="/")
            log = (folder / "log").read_text()[-2000:] if (folder / "log").exists() else ""
            assert done.returncode == 0, done.stderr + log

        run(
            *(postgres_server.binary("pg_basebackup"), "-h", owner, "-U", "postgres"),
            *("-D", folder / "data", "-R", "-X", "stream", "--checkpoint=fast"),
        )
        control = [postgres_server.binary("pg_ctl"), "-D", folder / "data", "-w"]
        run(*control, "-l", folder / "log", "-o", f'-h "" -k {folder}', "start")
        yield folder
        run(*control, "-m", "immediate", "stop")


async def catch_up(primary, standby):
    """Wait until the standby has everything that the primary has now."""
    first, second = [
        await asyncpg.connect(host=str(folder), user="postgres", database="postgres")
        for folder in (primary, standby)
    ]
    position = await first.fetchval("SELECT pg_current_wal_lsn()::text")
    caught_up = "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn"
    while not await second.fetchval(caught_up, position):  # noqa: ASYNC110  PostgreSQL has no event for it
        await asyncio.sleep(0.02)
    await first.close()
    await second.close()


async def found_in_the_end(plugin):
    async with asyncio.timeout(60):
        while True:
            try:
                if await plugin.find_contact("ann"):
                    return
            except Unavailable:
                pass
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("players", ["postgres"], indirect=True)
async def test_lookups_go_on_at_the_standby_when_the_primary_is_lost(
    players, running, standby, core, monkeypatch
):
    monkeypatch.setattr(plugin_module, "AGE_INTERVAL", 0.05)
    players.create()
    players.add(ANN)
    async with Proxy(f"{standby}/.s.PGSQL.5432") as second:
        first = players.proxy
        url = players.url.replace(f":{first.port}", f":{first.port},127.0.0.1:{second.port}")
        async with running(url=url) as plugin:
            assert await plugin.find_contact("ann")
            assert second.connections == 0
            first._server.close()
            first.drop()
            await found_in_the_end(plugin)
            assert second.connections > 0
            async with asyncio.timeout(60):
                while not core.described:  # noqa: ASYNC110  the core has no event for it
                    await asyncio.sleep(0.02)
    state = core.described[-1]
    assert state.users is None
    assert state.as_of <= time.time()


@pytest.mark.parametrize("players", ["postgres"], indirect=True)
async def test_a_primary_says_nothing_of_its_age(players, running, core, monkeypatch):
    monkeypatch.setattr(plugin_module, "AGE_INTERVAL", 0.01)
    players.create()
    async with running():
        await asyncio.sleep(0.1)
    assert core.described == []


@pytest.mark.parametrize("players", ["postgres"], indirect=True)
async def test_a_standby_that_no_longer_knows_its_age_is_not_called_current(
    players, running, core, monkeypatch
):
    """As one that was started again without its primary."""
    monkeypatch.setattr(plugin_module, "AGE_INTERVAL", 0.01)
    players.create()
    monkeypatch.setattr(postgresql, "_AGE", "SELECT true AS standby, 2.0::float8 AS age")
    async with running():
        async with asyncio.timeout(60):
            while not core.described:  # noqa: ASYNC110  the core has no event for it
                await asyncio.sleep(0.01)
        monkeypatch.setattr(postgresql, "_AGE", "SELECT true AS standby, NULL::float8 AS age")
        await asyncio.sleep(0.1)
        known = len(core.described)
        await asyncio.sleep(0.1)
    assert len(core.described) == known


@pytest.mark.parametrize("target", ["any", "prefer-standby", "read-only"])
@pytest.mark.parametrize("players", ["postgres"], indirect=True)
async def test_a_server_that_hangs_takes_only_its_share_of_the_time(players, running, target):
    players.create()
    players.add(ANN)
    if target == "read-only":
        players.run(f"ALTER DATABASE {players.database} SET default_transaction_read_only = on")
    async with Proxy(players.upstream) as hanging:
        hanging.fault = Fault.HANG
        well = players.proxy
        url = players.url.replace(f":{well.port}", f":{hanging.port},127.0.0.1:{well.port}")
        url = f"{url}?target_session_attrs={target}"
        async with running(url=url, connections=1, context={"lookup_timeout": 2.0}) as plugin:
            await found_in_the_end(plugin)
            connections = hanging.connections
            assert connections > 0
            if target != "prefer-standby":
                well.drop()
                await found_in_the_end(plugin)
                assert hanging.connections == connections, "the server that answered last comes first"


@pytest.mark.parametrize("players", ["postgres"], indirect=True)
async def test_a_standby_is_preferred_wherever_it_stands(players, running, postgres_server, standby):
    players.create()
    players.add(ANN)
    await catch_up(postgres_server._folder, standby)
    async with Proxy(f"{standby}/.s.PGSQL.5432") as second:
        first = players.proxy
        url = players.url.replace(f":{first.port}", f":{first.port},127.0.0.1:{second.port}")
        async with running(url=f"{url}?target_session_attrs=prefer-standby") as plugin:
            await found_in_the_end(plugin)
            assert second.sides
            assert not first.sides
