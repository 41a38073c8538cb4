"""What the short cut's tests share."""

import pytest

from torture.replica import Zygote


@pytest.fixture(scope="session")
def zygote():
    """Importing all of Gatepost takes seconds: once for all the gateways of the run."""
    with Zygote() as made:
        yield made
