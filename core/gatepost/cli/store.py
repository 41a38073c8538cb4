"""How commands look into the store, and how what they want changed reaches the gateway."""

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
from gatepost.config.toml_file import locate, read_settings
from gatepost.errors import ConfigError
from gatepost.model import Channel, Secret
from gatepost.outbox import CallbackRetry, MessageRetry, Outbox, Policy, open_outbox, postgresql, sqlite
from gatepost.outbox.driver_errors import store_error
from gatepost.outbox.store import sqlite_path
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

_PATIENCE = 60.0
"""Seconds for an answer; a gateway under load gives it in tenths of one."""


class Unanswered(Exception):
    """The gateway on this machine can't be asked, or did not answer; the text says why."""


class NoGateway(Unanswered):
    """No gateway runs on this machine."""


def settings_of_store(config: Path | None) -> Settings:
    """The configuration as far as the store needs it; raises ConfigError for faults in that part alone.

    Secrets of the plugins are often in the environment of the gateway only, and no matter here.
    """

    def none(_use: str) -> NoReturn:
        raise ConfigError([])

    settings, faults = read_settings(locate(config), none)
    ours = [one for one in faults if one.key.partition(".")[0] in {"", "store", "delivery"}]
    if settings is None or ours:
        raise ConfigError(ours or faults)
    return settings


async def look(settings: Settings, at: Callable[[Connection], Result]) -> Result:
    """Read from the store, beside a running gateway or without one: what it holds at one moment.

    Ends the command where that can't be done.
    """
    path = sqlite_path(settings.store.url, settings.path.parent)
    try:
        if path is None:
            return await _look_there(settings.store.url, at)
        _expect_store(path)
        engine = sqlite.reading_engine(path)
        with closing(engine.connect()) as connection:
            return at(connection)
    except DBAPIError as error:
        fail(f"the store can't be read: {store_error(error)}")
    except OSError as error:
        fail(f"the store can't be reached ({type(error).__name__})")


async def _look_there(url: Secret, at: Callable[[Connection], Result]) -> Result:
    database = postgresql.PostgresDatabase(url)

    def look(connection: Connection) -> Result:
        postgresql.of_one_moment(connection)
        return at(connection)

    try:
        return await database.transact(look)
    finally:
        await database.close()


def _expect_store(path: Path) -> None:
    if not path.exists():
        fail(f"there is no store at {path}: the gateway has never run with this configuration")


async def retry(settings: Settings, ids: Sequence[str]) -> list[MessageRetry]:
    """Have messages sent again: by the gateway that runs here, or in the store where none does."""
    lifetimes = {channel: settings.delivery.lifetime(channel) for channel in Channel}

    async def directly(outbox: Outbox, some: Sequence[str]) -> list[MessageRetry]:
        return [await outbox.retry(identity, lifetimes) for identity in some]

    return await _change(settings, "retry", ids, list[MessageRetry], directly)


async def retry_callbacks(settings: Settings, ids: Sequence[str]) -> list[CallbackRetry]:
    """Have the callbacks of messages made now that wait or were given up; by whom, as with ``retry``."""
    return await _change(settings, "retry-callbacks", ids, list[CallbackRetry], Outbox.retry_callbacks)


async def _change(
    settings: Settings,
    what: str,
    ids: Sequence[str],
    kind: type[list[Result]],
    directly: Callable[[Outbox, Sequence[str]], Awaitable[list[Result]]],
) -> list[Result]:
    """Ask the gateway in portions, or do it ``directly`` where no gateway runs here."""
    portions = [ids[start : start + MAX_IDS] for start in range(0, len(ids), MAX_IDS)]
    path = sqlite_path(settings.store.url, settings.path.parent)
    if path is not None:
        _expect_store(path)
    done: list[Result] = []
    try:
        async with _control(settings) as ask:
            for some in portions:
                done += msgspec.json.decode(await ask(what, RetryRequest(ids=some)), type=kind)
        return done
    except NoGateway:
        pass  # then nobody else has a file open, and on PostgreSQL the gateways elsewhere find it by themselves
    except Unanswered as error:
        fail(str(error))
    policy = Policy(
        uncertain_wait=settings.delivery.uncertain_wait, hold=settings.delivery.uncertain == "hold"
    )
    async with open_outbox(settings.store.url, settings.path.parent, policy) as outbox:
        for some in portions[len(done) // MAX_IDS :]:
            done += await directly(outbox, some)
    return done


async def rests(settings: Settings, channel: Channel) -> list[RestingInstance]:
    """Which instances of a channel's route rest, as the gateway that runs here says. Raises Unanswered."""
    async with _control(settings, patience=5.0) as ask:
        return msgspec.json.decode(
            await ask("resting-instances", RestingInstancesRequest(channel=channel)),
            type=list[RestingInstance],
        )


async def send(settings: Settings, request: SendRequest) -> dict[str, object]:
    """Have the running gateway take a message in; returns its answer. Raises Unanswered."""
    async with _control(settings) as ask:
        return msgspec.json.decode(await ask("send", request), type=dict[str, object])


@asynccontextmanager
async def _control(settings: Settings, patience: float = _PATIENCE) -> AsyncIterator["_Ask"]:
    """Who can be asked for things, of the gateway that runs with this configuration. Raises Unanswered."""
    path = admin_file_path(settings)
    try:
        written = path.read_bytes()
    except FileNotFoundError:
        written = b""
    except OSError as error:
        problem = f"{path}: {error.strerror}; run this as the user that the gateway runs as"
        raise Unanswered(problem) from None
    if not written:
        raise NoGateway(f"no gateway is running with this configuration (it would say so in {path})")
    try:
        note = msgspec.json.decode(written, type=AdminFile)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Somebody is just writing it, or died of it.
        raise NoGateway(f"no gateway has left a whole note in {path}; try again, or restart it") from None
    # The certificate names the host as the outside calls it; this never leaves the machine.
    timeout = aiohttp.ClientTimeout(total=patience, connect=5)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(ssl=False)) as session:
        yield _Ask(session, note)


class _Ask:
    """A running gateway."""

    def __init__(self, session: aiohttp.ClientSession, note: AdminFile) -> None:
        self._session = session
        self._note = note

    async def __call__(self, what: str, request: msgspec.Struct) -> bytes:
        url = f"{_reachable(self._note.url)}/admin/{what}"
        headers = {"Authorization": f"Bearer {self._note.token}"}
        try:
            async with self._session.post(
                url, data=msgspec.json.encode(request), headers=headers, allow_redirects=False
            ) as response:
                answer = await response.read()
        except aiohttp.ClientConnectorError:
            # The note of one that was killed.
            raise NoGateway("no gateway is running with this configuration") from None
        except (aiohttp.ClientError, TimeoutError) as error:
            problem = f"the gateway at {self._note.url} did not answer ({type(error).__name__})"
            raise Unanswered(problem) from None
        if response.status == 404:
            raise NoGateway(f"what listens at {self._note.url} is not the gateway of this configuration")
        if response.status != 200:
            problem = f"the gateway refused ({response.status}): {answer.decode('utf-8', 'replace')}"
            raise Unanswered(problem)
        return answer


def _reachable(url: str) -> str:
    """The URL as a client on this machine can use it, where it says: on every address."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
