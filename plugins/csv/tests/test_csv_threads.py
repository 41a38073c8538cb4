"""The loop's thread does none of the reading, and the reading thread lets go of the interpreter often."""

import asyncio
import threading

import anyio
import pytest

HEADER = "ext_user_id,email,phone\n"


def rows(count):
    return HEADER + "".join(f"u{n},{n}@x.org,\n" for n in range(count))


@pytest.fixture
def readers(players, monkeypatch):
    """The threads that have opened the file."""
    threads = []
    path_type = type(players.path)
    opened = path_type.open

    def noting(path, *args, **more):
        if path == players.path:
            threads.append(threading.get_ident())
        return opened(path, *args, **more)

    monkeypatch.setattr(path_type, "open", noting)
    return threads


async def test_the_loop_s_thread_does_not_read(players, readers, until):
    players.write(rows(10))
    source = players.source()
    async with source.lifespan():
        players.write(rows(20))

        async def taken():
            return source.find_contact("u19") is not None

        await until(taken)
    assert len(readers) == 2
    assert threading.get_ident() not in readers


@pytest.mark.parametrize("text", [rows(20_000), HEADER + "unusable\n" * 20_000], ids=["usable", "unusable"])
async def test_the_work_comes_in_slices(players, monkeypatch, text):
    breaths = []
    players.write(text)
    source = players.source()
    monkeypatch.setattr(source, "_breathe", lambda: breaths.append(threading.get_ident()))
    async with source.lifespan():
        assert len(breaths) >= 20_000 / 512
        assert threading.get_ident() not in breaths


async def test_lookups_go_on_while_a_new_file_is_read(players, until, monkeypatch):
    players.write(rows(10))
    source = players.source()
    reading, go_on = threading.Event(), threading.Event()

    def stand_still():
        reading.set()
        go_on.wait(30)

    async with source.lifespan():
        monkeypatch.setattr(source, "_breathe", stand_still)
        players.write(rows(20))
        await asyncio.to_thread(reading.wait, 30)
        assert source.find_contact("u9") is not None
        assert source.find_contact("u19") is None, "as a whole or not at all"
        go_on.set()

        async def taken():
            return source.find_contact("u19") is not None

        await until(taken)


async def test_leaving_ends_a_reading(players, monkeypatch):
    players.write(rows(10))
    source = players.source()
    breathe = source._breathe
    reading, ended = threading.Event(), threading.Event()

    def watched():
        reading.set()
        while True:
            try:
                breathe()
            except BaseException:
                ended.set()
                raise

    async with source.lifespan():
        monkeypatch.setattr(source, "_breathe", watched)
        players.write(rows(20))
        await asyncio.to_thread(reading.wait, 30)
    assert await asyncio.to_thread(ended.wait, 30)


async def test_a_cancelled_start_ends_its_reading(players, monkeypatch):
    players.write(rows(10))
    source = players.source()
    breathe = source._breathe
    reading, ended = threading.Event(), threading.Event()

    def watched():
        reading.set()
        try:
            while True:
                breathe()
        finally:
            ended.set()

    monkeypatch.setattr(source, "_breathe", watched)
    async with anyio.create_task_group() as group:

        async def start():
            async with source.lifespan():
                pytest.fail("started")

        group.start_soon(start)
        await asyncio.to_thread(reading.wait, 30)
        group.cancel_scope.cancel()
    assert await asyncio.to_thread(ended.wait, 30)


async def test_no_task_is_left(players):
    players.write(rows(10))
    before = asyncio.all_tasks()
    async with players.source().lifespan():
        assert len(asyncio.all_tasks() - before) == 1
    assert asyncio.all_tasks() == before
