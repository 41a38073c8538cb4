"""How commands read the store, and how they ask the running gateway for changes."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import NoReturn, TypeVar

import aiohttp
import msgspec
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from gatepost.cli.common import fail
from gatepost.config.settings import Settings
from gatepost.config.toml_file import config_path, read_settings
from gatepost.content_keys import ContentKeys
from gatepost.errors import ConfigError, Fault, StoreError
from gatepost.model import Channel, Secret
from gatepost.outbox import Outbox, Policy, open_outbox, postgresql, sqlite
from gatepost.outbox.driver_errors import store_error
from gatepost.outbox.store_url import sqlite_path
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

Result = TypeVar("Result")

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


class StoreUnreadable(Exception):
    """The store can't be read; the text says why."""


def load_settings(config: Path | None) -> Settings:
    """Return the settings; raise ConfigError only for faults in the parts that concern the store.

    The plugins' settings are not checked: their secrets are often in the gateway's environment only. Nor are the keys
    of contents, for the same reason: a command that has to read one says that its key is missing.
    """
    settings, faults = _read_settings(config)
    concerning_store = [
        fault
        for fault in faults
        if fault.key.partition(".")[0] in {"", "store", "delivery"} and fault.key != "store.content_keys"
    ]
    if settings is None or concerning_store:
        raise ConfigError(concerning_store or faults)
    return settings


def load_address(config: Path | None) -> Settings:
    """Return the settings for a command that only asks the gateway; raise ConfigError if they don't say where it listens.

    With ``admin_socket`` the store does not matter. systemd shows credentials, such as its URL, to the gateway alone.
    """
    settings, _ = _read_settings(config)
    return settings if settings and settings.server.admin_socket else load_settings(config)


def _read_settings(config: Path | None) -> tuple[Settings | None, list[Fault]]:
    def skip_plugin(_use: str) -> NoReturn:
        raise ConfigError([])

    return read_settings(config_path(config), skip_plugin)


async def fetch(settings: Settings, query: Callable[[Connection], Result]) -> Result:
    """Return what ``query`` reads from the store, as ``read`` does; end the command when the store can't be read."""
    try:
        return await read(settings, query)
    except StoreUnreadable as error:
        fail(str(error))


async def read(settings: Settings, query: Callable[[Connection], Result]) -> Result:
    """Return what ``query`` reads from the store, which sees the data of one moment. Raises StoreUnreadable.

    Works beside a running gateway and without one.
    """
    path = sqlite_path(settings.store.url, settings.path.parent)
    try:
        if path is None:
            return await _read_postgresql(settings.store.url, query)
        if not path.exists():
            raise StoreUnreadable(_no_file(path))
        engine = sqlite.read_only_engine(path)
        with closing(engine.connect()) as connection:
            return query(connection)
    except DBAPIError as error:
        raise StoreUnreadable(f"the store can't be read: {store_error(error)}") from None
    except StoreError as error:
        raise StoreUnreadable(str(error)) from None
    except OSError as error:
        raise StoreUnreadable(f"the store can't be reached ({type(error).__name__})") from None


async def _read_postgresql(url: Secret, query: Callable[[Connection], Result]) -> Result:
    database = postgresql.PostgresDatabase(url)

    def read_snapshot(connection: Connection) -> Result:
        postgresql.use_snapshot(connection)
        return query(connection)

    try:
        return await database.transact(read_snapshot)
    finally:
        await database.close()


def clock(settings: Settings) -> Callable[[Connection], int]:
    """Return the clock of the store: a query for its time in milliseconds since the epoch."""
    if sqlite_path(settings.store.url, settings.path.parent) is None:
        return postgresql.now
    return sqlite.database_clock(time.time)


def require_file(path: Path) -> None:
    """End the command where there is no SQLite file."""
    if not path.exists():
        fail(_no_file(path))


def _no_file(path: Path) -> str:
    return f"there is no store at {path}: the gateway has never run with this configuration"


def open_store(settings: Settings) -> AbstractAsyncContextManager[Outbox]:
    """Open the store for a change, where no gateway runs on this machine."""
    policy = Policy(
        uncertain_wait=settings.delivery.uncertain_wait,
        hold_uncertain=settings.delivery.uncertain == "hold",
        content_keys=ContentKeys(settings.store.content_keys),
    )
    return open_outbox(settings.store.url, settings.path.parent, policy)


async def resting_instances(settings: Settings, channel: Channel) -> list[RestingInstance]:
    """Return which instances of a channel's route rest in the gateway that runs here. Raises AdminError."""
    async with open_gateway(settings, _RESTING_INSTANCES_TIMEOUT) as gateway:
        answer = await gateway.request("resting-instances", RestingInstancesRequest(channel=channel))
        return msgspec.json.decode(answer, type=list[RestingInstance])


async def status(settings: Settings) -> GatewayStatus:
    """Return the status of the gateway that runs here. Raises AdminError."""
    async with open_gateway(settings, _STATUS_TIMEOUT) as gateway:
        return decode(await gateway.request("status", StatusRequest()), GatewayStatus)


def decode(answer: bytes, answer_type: type[Result]) -> Result:
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
