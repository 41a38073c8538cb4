"""The hooks that Gatepost calls; ``gatepost.hookspecs`` says what each of them promises."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import ClassVar, TypeVar

from gatepost.errors import Unavailable
from gatepost.hookspecs import ContactSource, Context, HasLifespan, HasPing, hookimpl
from gatepost.model import Contact
from sqlalchemy.exc import SQLAlchemyError

from gatepost_example_sql import users
from gatepost_example_sql.settings import Settings, engine

T = TypeVar("T")


class ExampleSql(HasLifespan, HasPing, ContactSource):
    """The users in one database."""

    # The version of the plugin contract that this plugin is written for.
    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[Settings]] = Settings

    def __init__(self, settings: Settings, context: Context) -> None:
        self._engine = engine(settings)
        self._connections = settings.connections
        # Gatepost cancels a lookup after this time; this plugin says why a moment earlier.
        self._deadline = context.lookup_timeout * 0.9

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Keep a pool of connections and a thread for each; threads of its own, so that a slow database delays nobody."""
        self._threads = ThreadPoolExecutor(self._connections, thread_name_prefix="example-sql")
        try:
            yield
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._engine.dispose()

    @hookimpl
    async def ping(self) -> None:
        """Run the query of the lookups."""
        await self._in_thread(lambda: users.check(self._engine))

    @hookimpl
    async def find_contact(self, ext_user_id: str) -> Contact | None:
        """Look the user up."""
        return await self._in_thread(lambda: users.find(self._engine, ext_user_id))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Return the result of a call that waits for the database; raise Unavailable where it fails or takes too long."""
        try:
            async with asyncio.timeout(self._deadline):
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except (SQLAlchemyError, TimeoutError, OSError) as error:
            # Only the error's type is passed on: its text may quote the query.
            reason = type(error).__name__
        raise Unavailable(f"the database can't answer ({reason})")
