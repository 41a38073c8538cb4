"""What time does to connections; on asyncio's loop, whose clock a test can set."""

import asyncio

import pytest

from gatepost import wire
from gatepost.errors import Uncertain
from wire.raw_server import Connection, RawServer, answering, forever


async def test_an_idle_connection_is_closed_before_the_server_does(set_ahead):
    async with (
        RawServer(answering) as server,
        wire.connect(server.url, timeout=30.0, connections=4) as http,
    ):
        await http.post("/", b"{}")
        set_ahead(13)
        await http.post("/", b"{}")
        assert server.connections == 1
        set_ahead(15)
        await http.post("/", b"{}")
        assert server.connections == 2


async def test_a_request_ends_at_its_deadline(set_ahead):
    requested = asyncio.Event()

    async def hang(connection: Connection) -> None:
        await connection.read()
        requested.set()
        await forever()

    async with RawServer(hang) as server, wire.connect(server.url, timeout=30.0, connections=4) as http:
        sending = asyncio.create_task(http.post("/", b"{}"))
        await requested.wait()
        set_ahead(29)
        await asyncio.sleep(0.3)
        assert not sending.done()
        set_ahead(1)
        with pytest.raises(Uncertain, match="no answer in time"):
            await sending


async def test_an_address_is_not_looked_up(monkeypatch):
    async def fail(*_rest, **_options):
        raise OSError

    async with RawServer(answering) as server, wire.connect(server.url, timeout=30.0, connections=4) as http:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", fail)
        assert (await http.post("/", b"{}")).status == 202


async def test_a_new_address_of_a_name_is_found_when_the_old_one_is_ten_seconds_old(set_ahead, monkeypatch):
    loop, lookups = asyncio.get_running_loop(), []
    original = loop.getaddrinfo

    async def note(host, *rest, **options):
        lookups.append(host)
        return await original(host, *rest, **options)

    monkeypatch.setattr(loop, "getaddrinfo", note)

    async def close(connection: Connection) -> None:
        await connection.read()
        await connection.write(b"HTTP/1.0 202 Accepted\r\nContent-Length: 0\r\n\r\n")

    async with RawServer(close) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        async with wire.connect(url, timeout=30.0, connections=4) as http:
            for _ in range(3):
                await http.post("/", b"{}")
            assert lookups.count("localhost") == 1
            set_ahead(11)
            await http.post("/", b"{}")
            assert lookups.count("localhost") == 2
