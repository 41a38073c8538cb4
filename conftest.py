import asyncio
import os

import pytest
from hypothesis import HealthCheck, settings

# The time that an example takes depends on the machine, so no test fails for it.
settings.register_profile("gatepost", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gatepost")


@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def set_ahead():
    """A function that sets the loop's clock ahead by some seconds: what is due by then happens at once."""
    loop = asyncio.get_running_loop()
    own, ahead = loop.time, 0.0

    def add(seconds):
        nonlocal ahead
        ahead += seconds

    loop.time = lambda: own() + ahead
    yield add
    del loop.time


@pytest.fixture
def past_deadline(set_ahead):
    """A function that awaits a call to an emulator; once the emulator withholds its answer, an hour passes at once."""

    async def outcome(emulator, call):
        withheld = emulator.withheld_answers
        calling = asyncio.ensure_future(call)
        while not calling.done() and emulator.withheld_answers == withheld:  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(0.001)
        set_ahead(3600)
        return await calling

    return outcome


def pytest_collection_modifyitems(items):
    """Put the file that waits longest first, so that it does not run alone at the end."""
    items.sort(key=lambda item: item.path.name != "test_torture_short.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """Return the number of processes for `make test`: most tests wait more than they compute."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(2 * cores, 8)
