"""The requests that the brands of the demo send while it runs."""

import asyncio
import random
from collections.abc import Mapping

import aiohttp

from gatepost.demo.traffic import BrandRequest, Traffic
from gatepost.model import Channel
from gatepost.testing.smartico import Smartico

_INTERVAL = 0.8
"""Seconds between two requests, on average."""

_FIRST_NUMBER = 100_000
"""Of the uids, so that they are not those of the sample day."""


async def send_traffic(smarticos: Mapping[str, Smartico], rng: random.Random) -> None:
    """Send a request about every second until cancelled; ``smarticos`` by brand."""
    traffic = Traffic(rng, _FIRST_NUMBER)
    while True:
        await asyncio.sleep(rng.expovariate(1 / _INTERVAL))
        request = traffic.next()
        try:
            await _send(smarticos[request.brand.name], request)
        except (aiohttp.ClientError, TimeoutError):
            # The gateway stops, which the command notices by itself, or the machine is busy.
            await asyncio.sleep(1.0)


async def _send(smartico: Smartico, request: BrandRequest) -> None:
    send = smartico.send_email if request.channel is Channel.EMAIL else smartico.send_sms
    # The gateway takes the callback URL from its configuration.
    await send(**request.fields, callback_url=None)
