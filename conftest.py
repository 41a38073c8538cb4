import asyncio
import os

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes depends on the machine, so no test fails because an example is slow.
settings.register_profile("gatepost", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gatepost")


@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def set_ahead():
    """Return a function that advances the loop's clock by a number of seconds, so that due timers run now."""
    loop = asyncio.get_running_loop()
    real_time, ahead = loop.time, 0.0

    def add(seconds):
        nonlocal ahead
        ahead += seconds

    loop.time = lambda: real_time() + ahead
    yield add
    del loop.time


@pytest.fixture
def past_deadline(set_ahead):
    """Return a function that awaits a call to an emulator.

    When the emulator withholds its answer, the loop's clock advances by an hour, so that every
    deadline passes.
    """

    async def result(emulator, call):
        withheld = emulator.withheld_answers
        task = asyncio.ensure_future(call)
        # The emulator only counts withheld answers; it has no event to wait for.
        while not task.done() and emulator.withheld_answers == withheld:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        set_ahead(3600)
        return await task

    return result


def pytest_collection_modifyitems(items):
    """Run the slowest file first, so that it does not run alone at the end."""
    items.sort(key=lambda item: item.path.name != "test_torture_short.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """Return the number of processes: two per core, because most tests wait more than they compute."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(2 * cores, 8)
