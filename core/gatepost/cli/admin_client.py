"""How commands ask the gateway that runs with this configuration, through its admin socket.

Apart from ``gatepost.cli.store``, because loading the HTTP client takes a good part of a reading command's time.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

import aiohttp
import msgspec

from gatepost.config.settings import Settings
from gatepost.model import Channel
from gatepost.upkeep.status import GatewayStatus
from gatepost.web.admin.requests import (
    OPERATION_REFUSED,
    Request,
    RestingInstance,
    RestingInstancesRequest,
    SendRequest,
    StatusRequest,
)
from gatepost.web.admin.socket_file import (
    CONNECT_TIMEOUT,
    NoSocket,
    SocketUnavailable,
    gateway_address,
    live_addresses,
)

Answer = TypeVar("Answer")

_REQUEST_TIMEOUT = 60.0
"""Seconds for an answer of the gateway; under load it answers in tenths of a second."""

FORGET_TIMEOUT = 3600.0
"""Seconds for the answer to ``forget``, which erases some thousand messages a second and goes on to its end."""

_RESTING_INSTANCES_TIMEOUT = 5.0
"""Seconds for the list of resting instances, which a command can do without."""

_STATUS_TIMEOUT = 10.0
"""Seconds for the gateway's status, which it has in memory."""


class AdminError(Exception):
    """The gateway on this machine can't be reached, did not answer, or refused; the text says which."""


class GatewayNotRunning(AdminError):
    """No gateway runs on this machine."""


async def resting_instances(settings: Settings, channel: Channel) -> list[RestingInstance]:
    """Return which instances of a channel's route rest in the gateway that runs here. Raises AdminError."""
    async with open_gateway(settings, _RESTING_INSTANCES_TIMEOUT) as gateway:
        answer = await gateway.request("resting-instances", RestingInstancesRequest(channel=channel))
        return msgspec.json.decode(answer, type=list[RestingInstance])


async def status(settings: Settings) -> GatewayStatus:
    """Return the status of the gateway that runs here. Raises AdminError."""
    async with open_gateway(settings, _STATUS_TIMEOUT) as gateway:
        return decode(await gateway.request("status", StatusRequest()), GatewayStatus)


def decode(answer: bytes, answer_type: type[Answer]) -> Answer:
    """Return a gateway's answer as this type. Raises AdminError."""
    try:
        return msgspec.json.decode(answer, type=answer_type)
    except msgspec.ValidationError:
        raise AdminError("the gateway that runs is of another version than this command") from None


async def send(settings: Settings, request: SendRequest) -> dict[str, object]:
    """Let the running gateway accept a message; return its answer. Raises AdminError."""
    async with open_gateway(settings) as gateway:
        return msgspec.json.decode(await gateway.request("send", request), type=dict[str, object])


@asynccontextmanager
async def open_gateway(
    settings: Settings, max_seconds: float | None = None
) -> AsyncIterator["GatewayClient"]:
    """Open a client of the gateway that runs with this configuration. Raises AdminError.

    ``max_seconds`` are for each answer; None: as many as usual.
    """
    try:
        with gateway_address(settings) as address:
            async with _session(address, max_seconds or _REQUEST_TIMEOUT) as session:
                yield GatewayClient(session)
    except NoSocket as error:
        raise GatewayNotRunning(str(error)) from None
    except SocketUnavailable as error:
        raise AdminError(str(error)) from None


@asynccontextmanager
async def open_gateways(settings: Settings) -> AsyncIterator[Sequence["GatewayClient"]]:
    """Open clients of all gateways that run here with this configuration. Raises AdminError where there is none."""
    async with AsyncExitStack() as stack:
        # It says why there is none.
        first = await stack.enter_async_context(open_gateway(settings))
        addresses = stack.enter_context(live_addresses(settings))
        sessions = [
            await stack.enter_async_context(_session(address, _REQUEST_TIMEOUT)) for address in addresses
        ]
        yield [GatewayClient(session) for session in sessions] or [first]


def _session(address: str, max_seconds: float) -> aiohttp.ClientSession:
    """Return a session with the gateway at this address; ``max_seconds`` are for each answer."""
    timeout = aiohttp.ClientTimeout(total=max_seconds, connect=CONNECT_TIMEOUT)
    return aiohttp.ClientSession(timeout=timeout, connector=aiohttp.UnixConnector(path=address))


class GatewayClient:
    """A client of a running gateway's admin API."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def request(self, operation: str, request: Request) -> bytes:
        """Let the gateway run an operation; return the body of its answer. Raises AdminError."""
        try:
            # The host is of no meaning on a Unix socket, but HTTP wants one.
            async with self._session.post(
                f"http://gateway/{operation}", data=msgspec.json.encode(request), allow_redirects=False
            ) as response:
                answer = await response.read()
        except aiohttp.ClientConnectorError:
            raise GatewayNotRunning("the gateway with this configuration has just stopped") from None
        except (aiohttp.ClientError, TimeoutError) as error:
            problem = f"the gateway did not answer ({type(error).__name__}): its log may say why"
            raise AdminError(problem) from None
        if response.status != 200:
            problem = answer.decode("utf-8", "replace")
            if response.status == OPERATION_REFUSED:
                # The same text as where the command changes the store itself.
                raise AdminError(problem)
            raise AdminError(f"the gateway refused ({response.status}): {problem}")
        return answer
