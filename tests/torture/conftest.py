"""Fixtures of the torture tests."""

import pytest

from torture.replica import ForkServer


@pytest.fixture(scope="session")
def fork_server():
    """Start one fork server for the whole run, because importing Gatepost takes seconds."""
    with ForkServer() as server:
        yield server
