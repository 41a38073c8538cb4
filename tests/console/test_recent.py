"""Values that several tabs share: read once, for a few seconds."""

import asyncio

import pytest

from gatepost.console import recent
from gatepost.console.recent import RecentValues


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Source:
    """Counts how often it is read; a reading waits for ``may_end``."""

    def __init__(self):
        self.reads = 0
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def read(self):
        self.reads += 1
        await self.may_end.wait()
        return self.reads


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def values(clock):
    return RecentValues(clock)


async def test_a_value_is_read_again_only_when_it_is_too_old(values, clock):
    source = Source()
    assert [await values.get("a", 5, source.read) for _ in range(3)] == [1, 1, 1]
    clock.now += 5
    assert await values.get("a", 5, source.read) == 2
    assert await values.get("b", 5, source.read) == 3


async def test_callers_at_the_same_time_wait_for_one_reading(values):
    source = Source()
    source.may_end.clear()
    tabs = [asyncio.create_task(values.get("a", 5, source.read)) for _ in range(10)]
    await asyncio.sleep(0)
    # The tab whose request began the reading was closed.
    tabs[0].cancel()
    source.may_end.set()
    assert await asyncio.gather(*tabs[1:]) == [2] * 9


async def test_a_failure_is_not_kept(values):
    async def fail():
        raise OSError

    with pytest.raises(OSError):
        await values.get("a", 5, fail)
    assert await values.get("a", 5, Source().read) == 1


async def test_the_memory_is_bounded(values, clock, monkeypatch):
    monkeypatch.setattr(recent, "MAX_VALUES", 3)
    source = Source()
    for number in range(10):
        await values.get(number, 5, source.read)
        clock.now += 5
    assert len(values._values) <= 4
