"""Changes that a command makes: through the gateway that runs here, or in the store when none does."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec
import rich_click as click

from gatepost.cli import admin_client, store
from gatepost.cli.common import fail
from gatepost.config.settings import Settings
from gatepost.errors import StoreError
from gatepost.outbox import Outbox
from gatepost.outbox.store_url import sqlite_path
from gatepost.web.admin.actors import own_actor
from gatepost.web.admin.requests import MAX_IDS, Ids, Request, reason_problem
from gatepost.web.admin.services import OperationRefused
from gatepost.web.admin.store_operations import STORE_OPERATIONS


class Changes:
    """Runs the operations of one command, all of them at the same place."""

    def __init__(
        self, settings: Settings, stack: AsyncExitStack, gateway: admin_client.GatewayClient | None
    ) -> None:
        self._settings = settings
        self._stack = stack
        self._gateway = gateway
        self._outbox: Outbox | None = None
        self._begun = False

    async def run(self, name: str, request: Request) -> Any:
        """Run one of STORE_OPERATIONS and return its answer; end the command where it can't be done."""
        operation = STORE_OPERATIONS[name]
        if self._gateway is not None:
            try:
                answer = await self._gateway.request(name, request)
            except admin_client.GatewayNotRunning as error:
                # A process that was killed left its socket behind.
                if self._begun:
                    fail(str(error))
                self._gateway = None
            except admin_client.AdminError as error:
                fail(str(error))
            else:
                self._begun = True
                return msgspec.json.decode(answer, type=operation.answer_type)
        if self._outbox is None:
            # No other process has the SQLite file open; on PostgreSQL other gateways find the change themselves.
            self._outbox = await self._stack.enter_async_context(store.open_store(self._settings))
        try:
            return await operation.run(self._settings, self._outbox, request, own_actor())
        except (OperationRefused, StoreError) as error:
            fail(str(error))


@asynccontextmanager
async def open_changes(settings: Settings, max_seconds: float | None = None) -> AsyncIterator[Changes]:
    """Open the place of a command's changes. Ends the command where there is none.

    ``max_seconds`` are as in ``admin_client.open_gateway``.
    """
    path = sqlite_path(settings.store.url, settings.path.parent)
    if path is not None:
        store.require_file(path)
    async with AsyncExitStack() as stack:
        gateway: admin_client.GatewayClient | None = None
        try:
            gateway = await stack.enter_async_context(admin_client.open_gateway(settings, max_seconds))
        except admin_client.GatewayNotRunning:
            pass
        except admin_client.AdminError as error:
            fail(str(error))
        yield Changes(settings, stack, gateway)


async def change(settings: Settings, name: str, request: Request, max_seconds: float | None = None) -> Any:
    """Run one operation and return its answer, as ``Changes.run`` does."""
    async with open_changes(settings, max_seconds) as changes:
        return await changes.run(name, request)


async def change_messages(
    settings: Settings, name: str, ids: Sequence[str], request: Callable[[Ids], Request]
) -> list[Any]:
    """Run an operation on messages, in requests of at most MAX_IDS; return a result for each message."""
    results: list[Any] = []
    async with open_changes(settings) as changes:
        for start in range(0, len(ids), MAX_IDS):
            results += await changes.run(name, request(ids[start : start + MAX_IDS]))
    return results


def check_reason(_context: click.Context, _option: click.Parameter, reason: str) -> str:
    """Return the reason that an option gives; refuse one with an address or a number in it, because it is stored."""
    if problem := reason_problem(reason):
        raise click.BadParameter(problem)
    return reason
