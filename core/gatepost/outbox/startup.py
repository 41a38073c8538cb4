"""Opening the outbox: connect, lock, bring the tables up to date."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from gatepost.config.settings import InstanceSettings, Settings
from gatepost.content_keys import ContentKeys
from gatepost.errors import ConfigError, Fault, StoreError
from gatepost.model import Channel, Secret
from gatepost.observe import logs
from gatepost.observe.trail import NO_TRAIL, Trail
from gatepost.outbox import counters, postgresql, sqlite
from gatepost.outbox.driver_errors import opening_problem
from gatepost.outbox.group_commit import Database
from gatepost.outbox.migrate import migrate
from gatepost.outbox.pooler_probe import check_sessions
from gatepost.outbox.records import Fallback, Policy
from gatepost.outbox.store import Outbox
from gatepost.outbox.store_url import sqlite_path
from gatepost.outbox.transaction import Transaction
from gatepost.outbox.warmup_steps import PERIODS, Warmup

LOCK_INTERVAL = 0.02
"""Seconds between two looks whether another process still has the file."""

UPGRADE_TRIES = 20
"""How often an upgrade begins again when PostgreSQL has ended it because of a deadlock."""

_DEADLOCK_DETECTED = "40P01"

_log = logs.get(__name__)


def outbox_policy(settings: Settings) -> Policy:
    """Return what the configuration says about the messages in the store."""
    return Policy(
        uncertain_wait=settings.delivery.uncertain_wait,
        hold_uncertain=settings.delivery.uncertain == "hold",
        retention=settings.delivery.retention,
        suppress=frozenset(settings.delivery.suppress),
        fallbacks={
            (channel, route.name): Fallback(route.use, route.next_after)
            for channel in Channel
            for route in settings.routes.of(channel)
            if route.next_after
        },
        balanced=frozenset(settings.routes.balanced),
        warmups={name: plan for name, one in settings.plugins.items() if (plan := warmup_plan(one))},
        content_keys=ContentKeys(settings.store.content_keys),
    )


def warmup_plan(instance: InstanceSettings) -> Warmup | None:
    """Return the warm-up of an instance; None where it has none."""
    one = instance.warmup
    return Warmup(instance.name, one.first, one.factor, PERIODS[one.per]) if one else None


@asynccontextmanager
async def open_outbox(
    url: Secret,
    base: Path,
    policy: Policy,
    clock: Callable[[], float] = time.time,
    trail: Trail = NO_TRAIL,
    on_wait: Callable[[], None] | None = None,
) -> AsyncIterator[Outbox]:
    """Open the store and bring its tables up to date; on SQLite also end the claims of the process before.

    ``clock`` (seconds since the epoch) is used on SQLite; on PostgreSQL the server's clock counts. ``on_wait`` is called
    when another process has the SQLite file; its end is waited for. Raises ConfigError when the store can't be opened,
    and without ``on_wait`` when another process has it.
    """
    path = sqlite_path(url, base)
    opened = (
        _open_postgresql(url, policy, trail)
        if path is None
        else _open_sqlite(path, policy, clock, trail, on_wait)
    )
    async with opened as outbox:
        try:
            # Before the first claim: what was paused stays paused.
            await outbox.read_pauses()
        except StoreError as error:
            raise ConfigError([Fault("store.url", f"the pauses can't be read: {error}")]) from None
        yield outbox


@asynccontextmanager
async def _open_sqlite(
    path: Path,
    policy: Policy,
    clock: Callable[[], float],
    trail: Trail,
    on_wait: Callable[[], None] | None,
) -> AsyncIterator[Outbox]:
    lock = sqlite.FileLock(path)
    if on_wait is not None and lock.is_held():
        _log.info("store_in_use", path=str(path))
        on_wait()
        while lock.is_held():  # noqa: ASYNC110  the operating system tells nobody
            await asyncio.sleep(LOCK_INTERVAL)
    lock.acquire()
    try:
        database = sqlite.SqliteDatabase(path)
        await _upgrade(database, str(path), migrate)
    except BaseException:
        lock.release()
        raise
    outbox = Outbox(database, sqlite.database_clock(clock), policy, lock=lock, trail=trail)
    try:
        try:
            await outbox.expire_all_claims()
        except StoreError as error:
            raise ConfigError([Fault("store.url", f"{path}: {error}")]) from None
        yield outbox
    finally:
        await outbox.close()


@asynccontextmanager
async def _open_postgresql(url: Secret, policy: Policy, trail: Trail) -> AsyncIterator[Outbox]:
    await check_sessions(url)
    database = postgresql.PostgresDatabase(url)

    def upgrade(connection: Connection) -> None:
        postgresql.lock_migration(connection)
        migrate(connection)
        counters.roll_up(Transaction(connection, postgresql.now(connection), "", policy))

    await _upgrade(database, "the database", upgrade)
    outbox = Outbox(database, postgresql.now, policy, trail=trail)
    try:
        yield outbox
    finally:
        await outbox.close()


async def _upgrade(database: Database, name: str, upgrade: Callable[[Connection], object]) -> None:
    try:
        try:
            await _transact_again_after_deadlocks(database, upgrade)
        except (DBAPIError, StoreError) as error:
            raise ConfigError([Fault("store.url", opening_problem(name, error))]) from None
        except (OSError, ValueError) as error:
            # Without a connection the driver raises the errors of its socket or of its URL parser.
            problem = f"{name} can't be reached ({type(error).__name__})"
            raise ConfigError([Fault("store.url", problem)]) from None
    except BaseException:
        await database.close()
        raise


async def _transact_again_after_deadlocks(
    database: Database, upgrade: Callable[[Connection], object]
) -> None:
    """Upgrade; a migration of several tables may meet the transactions of running replicas in another order."""
    for tries_left in reversed(range(UPGRADE_TRIES)):
        try:
            await database.transact(upgrade)
            return
        except DBAPIError as error:
            if not tries_left or getattr(error.orig, "sqlstate", "") != _DEADLOCK_DETECTED:
                raise
