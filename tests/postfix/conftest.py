"""A gateway and two Postfixes, started once for all tests of a file."""

import asyncio
from contextlib import ExitStack

import pytest

from gatepost.testing.smartico import Smartico
from postfix import servers
from postfix.system import System


@pytest.fixture(scope="module")
async def system():
    with servers.temporary_folder() as folder, ExitStack() as stack:
        async with Smartico(api_key="the-api-key", authorization="the-secret") as crm:
            system = System(folder, crm, servers.Ports(stack))
            contexts = [system.relay.running(), system.exchanger.running(), system.gateway]
            try:
                await asyncio.gather(*(asyncio.to_thread(stack.enter_context, one) for one in contexts))
                yield system
            finally:
                await asyncio.to_thread(stack.close)
