"""The outcomes of requests through gatepost.wire."""

import pytest

from gatepost import wire
from gatepost.errors import Unavailable


async def test_a_request_on_a_closed_pool_is_unavailable():
    async with wire.connect("http://127.0.0.1:1", timeout=5, connections=1) as http:
        pass

    with pytest.raises(Unavailable, match="the connections are closed"):
        await http.post("/v1/messages", b"{}")
