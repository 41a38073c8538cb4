"""A console on a store of both kinds."""

import pytest

from console_site import open_site


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request):
    if request.param == "postgresql":
        return request.getfixturevalue("postgres_server").new_database()
    return "sqlite:///outbox.db"


@pytest.fixture
async def site(url, tmp_path, new):
    async with open_site(url, tmp_path, new) as site:
        yield site
