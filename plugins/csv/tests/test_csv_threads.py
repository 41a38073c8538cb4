"""The event loop's thread never reads the file, and the reading thread often releases the interpreter."""

import asyncio
import threading

import anyio
import pytest

HEADER = "ext_user_id,email,phone\n"


def rows(count):
    return HEADER + "".join(f"u{n},{n}@x.org,\n" for n in range(count))


@pytest.fixture
def reading_threads(contacts_file, monkeypatch):
    """The ids of the threads that opened the file."""
    threads = []
    path_type = type(contacts_file.path)
    opened = path_type.open

    def recording_open(path, *args, **more):
        if path == contacts_file.path:
            threads.append(threading.get_ident())
        return opened(path, *args, **more)

    monkeypatch.setattr(path_type, "open", recording_open)
    return threads


async def test_the_event_loop_does_not_read_the_file(contacts_file, reading_threads, until):
    contacts_file.write(rows(10))
    source = contacts_file.source()
    async with source.lifespan():
        contacts_file.write(rows(20))

        async def is_current():
            return source.find_contact("u19") is not None

        await until(is_current)
    assert len(reading_threads) == 2
    assert threading.get_ident() not in reading_threads


@pytest.mark.parametrize("text", [rows(20_000), HEADER + "unusable\n" * 20_000], ids=["usable", "unusable"])
async def test_the_reading_thread_pauses_often(contacts_file, monkeypatch, text):
    pauses = []
    contacts_file.write(text)
    source = contacts_file.source()
    monkeypatch.setattr(source, "_pause", lambda: pauses.append(threading.get_ident()))
    async with source.lifespan():
        assert len(pauses) >= 20_000 / 512
        assert threading.get_ident() not in pauses


async def test_lookups_go_on_while_a_new_file_is_read(contacts_file, until, monkeypatch):
    contacts_file.write(rows(10))
    source = contacts_file.source()
    reading, resume = threading.Event(), threading.Event()

    def block():
        reading.set()
        resume.wait(30)

    async with source.lifespan():
        monkeypatch.setattr(source, "_pause", block)
        contacts_file.write(rows(20))
        await asyncio.to_thread(reading.wait, 30)
        assert source.find_contact("u9") is not None
        assert source.find_contact("u19") is None, "as a whole or not at all"
        resume.set()

        async def is_current():
            return source.find_contact("u19") is not None

        await until(is_current)


async def test_the_end_of_the_lifespan_ends_a_read(contacts_file, monkeypatch):
    contacts_file.write(rows(10))
    source = contacts_file.source()
    pause = source._pause
    reading, ended = threading.Event(), threading.Event()

    def observed_pause():
        reading.set()
        while True:
            try:
                pause()
            except BaseException:
                ended.set()
                raise

    async with source.lifespan():
        monkeypatch.setattr(source, "_pause", observed_pause)
        contacts_file.write(rows(20))
        await asyncio.to_thread(reading.wait, 30)
    assert await asyncio.to_thread(ended.wait, 30)


async def test_a_cancelled_start_ends_its_read(contacts_file, monkeypatch):
    contacts_file.write(rows(10))
    source = contacts_file.source()
    pause = source._pause
    reading, ended = threading.Event(), threading.Event()

    def observed_pause():
        reading.set()
        try:
            while True:
                pause()
        finally:
            ended.set()

    monkeypatch.setattr(source, "_pause", observed_pause)
    async with anyio.create_task_group() as group:

        async def start():
            async with source.lifespan():
                pytest.fail("started")

        group.start_soon(start)
        await asyncio.to_thread(reading.wait, 30)
        group.cancel_scope.cancel()
    assert await asyncio.to_thread(ended.wait, 30)


async def test_the_lifespan_leaves_no_task(contacts_file):
    contacts_file.write(rows(10))
    before = asyncio.all_tasks()
    async with contacts_file.source().lifespan():
        assert len(asyncio.all_tasks() - before) == 1
    assert asyncio.all_tasks() == before
