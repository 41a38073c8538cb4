"""What a plugin's HTTP says of a request that did not get as far as a connection."""

import pytest

from gatepost import wire
from gatepost.errors import Unavailable


async def test_a_request_after_the_pool_was_closed_was_surely_not_sent():
    async with wire.connect("http://127.0.0.1:1", timeout=5, connections=1) as http:
        pass

    with pytest.raises(Unavailable, match="the connections were closed"):
        await http.post("/v1/messages", b"{}")
