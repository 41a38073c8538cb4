"""How commands read the store, and how they ask the running gateway for changes."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import NoReturn, TypeVar

import aiohttp
import msgspec
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from gatepost.cli.common import fail
from gatepost.config.settings import Settings
from gatepost.config.toml_file import config_path, read_settings
from gatepost.errors import ConfigError
from gatepost.model import Channel, Secret
from gatepost.outbox import CallbackRetry, MessageRetry, Outbox, Policy, open_outbox, postgresql, sqlite
from gatepost.outbox.driver_errors import store_error
from gatepost.outbox.store_url import sqlite_path
from gatepost.web.admin import (
    MAX_IDS,
    AdminFile,
    RestingInstance,
    RestingInstancesRequest,
    RetryRequest,
    SendRequest,
    admin_file_path,
)

Result = TypeVar("Result")

_REQUEST_TIMEOUT = 60.0
"""Seconds for an answer of the gateway; under load it answers in tenths of a second."""

_RESTING_INSTANCES_TIMEOUT = 5.0
"""Seconds for the list of resting instances, which a command can do without."""


class AdminError(Exception):
    """The gateway on this machine can't be reached, did not answer, or refused; the text says which."""


class GatewayNotRunning(AdminError):
    """No gateway runs on this machine."""


def load_settings(config: Path | None) -> Settings:
    """Return the settings; raise ConfigError only for faults in the parts that concern the store.

    The plugins' settings are not checked: their secrets are often in the gateway's environment only.
    """

    def skip_plugin(_use: str) -> NoReturn:
        raise ConfigError([])

    settings, faults = read_settings(config_path(config), skip_plugin)
    concerning_store = [fault for fault in faults if fault.key.partition(".")[0] in {"", "store", "delivery"}]
    if settings is None or concerning_store:
        raise ConfigError(concerning_store or faults)
    return settings


async def fetch(settings: Settings, query: Callable[[Connection], Result]) -> Result:
    """Return what ``query`` reads from the store, which sees the data of one moment.

    Works beside a running gateway and without one. Ends the command when the store can't be read.
    """
    path = sqlite_path(settings.store.url, settings.path.parent)
    try:
        if path is None:
            return await _read_postgresql(settings.store.url, query)
        _require_file(path)
        engine = sqlite.read_only_engine(path)
        with closing(engine.connect()) as connection:
            return query(connection)
    except DBAPIError as error:
        fail(f"the store can't be read: {store_error(error)}")
    except OSError as error:
        fail(f"the store can't be reached ({type(error).__name__})")


async def _read_postgresql(url: Secret, query: Callable[[Connection], Result]) -> Result:
    database = postgresql.PostgresDatabase(url)

    def read_snapshot(connection: Connection) -> Result:
        postgresql.use_snapshot(connection)
        return query(connection)

    try:
        return await database.transact(read_snapshot)
    finally:
        await database.close()


def _require_file(path: Path) -> None:
    if not path.exists():
        fail(f"there is no store at {path}: the gateway has never run with this configuration")


async def retry(settings: Settings, ids: Sequence[str]) -> list[MessageRetry]:
    """Queue messages again: through the gateway that runs here, or in the store when none does."""
    lifetimes = {channel: settings.delivery.lifetime(channel) for channel in Channel}

    async def change_store(outbox: Outbox, chunk: Sequence[str]) -> list[MessageRetry]:
        return [await outbox.retry(message_id, lifetimes) for message_id in chunk]

    return await _change(settings, "retry", ids, list[MessageRetry], change_store)


async def retry_callbacks(settings: Settings, ids: Sequence[str]) -> list[CallbackRetry]:
    """Queue the failed callbacks of messages now: through the gateway or in the store, as ``retry`` does."""
    return await _change(settings, "retry-callbacks", ids, list[CallbackRetry], Outbox.retry_callbacks)


async def _change(
    settings: Settings,
    action: str,
    ids: Sequence[str],
    answer_type: type[list[Result]],
    change_store: Callable[[Outbox, Sequence[str]], Awaitable[list[Result]]],
) -> list[Result]:
    """Ask the gateway for the action in chunks of ids, or call ``change_store`` when no gateway runs here."""
    chunks = [ids[start : start + MAX_IDS] for start in range(0, len(ids), MAX_IDS)]
    path = sqlite_path(settings.store.url, settings.path.parent)
    if path is not None:
        _require_file(path)
    results: list[Result] = []
    try:
        async with _gateway(settings) as gateway:
            for chunk in chunks:
                answer = await gateway.request(action, RetryRequest(ids=chunk))
                results += msgspec.json.decode(answer, type=answer_type)
        return results
    except GatewayNotRunning:
        # Then no other process has the SQLite file open; on PostgreSQL the other gateways find the change themselves.
        pass
    except AdminError as error:
        fail(str(error))
    policy = Policy(
        uncertain_wait=settings.delivery.uncertain_wait,
        hold_uncertain=settings.delivery.uncertain == "hold",
    )
    async with open_outbox(settings.store.url, settings.path.parent, policy) as outbox:
        for chunk in chunks[len(results) // MAX_IDS :]:
            results += await change_store(outbox, chunk)
    return results


async def resting_instances(settings: Settings, channel: Channel) -> list[RestingInstance]:
    """Return which instances of a channel's route rest in the gateway that runs here. Raises AdminError."""
    async with _gateway(settings, _RESTING_INSTANCES_TIMEOUT) as gateway:
        answer = await gateway.request("resting-instances", RestingInstancesRequest(channel=channel))
        return msgspec.json.decode(answer, type=list[RestingInstance])


async def send(settings: Settings, request: SendRequest) -> dict[str, object]:
    """Let the running gateway accept a message; return its answer. Raises AdminError."""
    async with _gateway(settings) as gateway:
        return msgspec.json.decode(await gateway.request("send", request), type=dict[str, object])


@asynccontextmanager
async def _gateway(settings: Settings, max_seconds: float = _REQUEST_TIMEOUT) -> AsyncIterator["_Gateway"]:
    """Open a client of the gateway that runs with this configuration. Raises AdminError."""
    path = admin_file_path(settings)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = b""
    except OSError as error:
        problem = f"{path}: {error.strerror}; run this as the user that the gateway runs as"
        raise AdminError(problem) from None
    if not content:
        raise GatewayNotRunning(f"no gateway is running with this configuration (it would write {path})")
    try:
        admin_file = msgspec.json.decode(content, type=AdminFile)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # A gateway is writing it at this moment, or died while it was writing.
        raise GatewayNotRunning(
            f"the admin file {path} is not complete; try again, or restart the gateway"
        ) from None
    # The certificate is not verified: it names the host as clients outside know it, and this connection never
    # leaves the machine.
    timeout = aiohttp.ClientTimeout(total=max_seconds, connect=5)
    connector = aiohttp.TCPConnector(ssl=False)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        yield _Gateway(session, admin_file)


class _Gateway:
    """A client of a running gateway's admin API."""

    def __init__(self, session: aiohttp.ClientSession, admin_file: AdminFile) -> None:
        self._session = session
        self._admin_file = admin_file

    async def request(self, action: str, body: msgspec.Struct) -> bytes:
        """Send an admin request; return the body of its answer. Raises AdminError."""
        url = f"{_local_url(self._admin_file.url)}/admin/{action}"
        headers = {"Authorization": f"Bearer {self._admin_file.token}"}
        try:
            async with self._session.post(
                url, data=msgspec.json.encode(body), headers=headers, allow_redirects=False
            ) as response:
                answer = await response.read()
        except aiohttp.ClientConnectorError:
            # The admin file was left by a gateway that was killed.
            raise GatewayNotRunning("no gateway is running with this configuration") from None
        except (aiohttp.ClientError, TimeoutError) as error:
            problem = f"the gateway at {self._admin_file.url} did not answer ({type(error).__name__})"
            raise AdminError(problem) from None
        if response.status == 404:
            raise GatewayNotRunning(
                f"the server that listens at {self._admin_file.url} is not the gateway of this configuration"
            )
        if response.status != 200:
            problem = f"the gateway refused ({response.status}): {answer.decode('utf-8', 'replace')}"
            raise AdminError(problem)
        return answer


def _local_url(url: str) -> str:
    """Return the URL with the loopback address when the gateway listens on every address."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
