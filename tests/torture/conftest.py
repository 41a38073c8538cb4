"""What the short cut's tests share."""

import pytest

from torture.replica import ForkServer


@pytest.fixture(scope="session")
def fork_server():
    """Importing all of Gatepost takes seconds: once for all the gateways of the run."""
    with ForkServer() as made:
        yield made
