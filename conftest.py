import asyncio
import os

import pytest
from hypothesis import HealthCheck, settings

# How long it takes to make or try an example depends on the machine, and says nothing about either.
settings.register_profile("gatepost", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gatepost")


@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def set_ahead():
    """Sets the loop's clock ahead by so many seconds: whatever is due by then is due now, and nobody waits."""
    loop = asyncio.get_running_loop()
    own, ahead = loop.time, 0.0

    def add(seconds):
        nonlocal ahead
        ahead += seconds

    loop.time = lambda: own() + ahead
    yield add
    del loop.time


@pytest.fixture
def outwaited(set_ahead):
    """Awaits a call to an emulator; what the emulator withholds is waited for an hour, which takes no time."""

    async def outcome(emulator, call):
        withheld = emulator.withheld
        calling = asyncio.ensure_future(call)
        while not calling.done() and emulator.withheld == withheld:  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(0.001)
        set_ahead(3600)
        return await calling

    return outcome


def pytest_collection_modifyitems(items):
    """Whoever has the file that waits longest begins with it: nobody shall wait for him in the end."""
    items.sort(key=lambda item: item.path.name != "test_torture_short.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """How many processes `make test` shares the tests out to: they wait more than they compute."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(2 * cores, 8)
