"""Any other database that SQLAlchemy has a blocking driver for: without batches, and without limits of the server's own."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine
from sqlalchemy.exc import SQLAlchemyError

from gatepost.errors import ConfigError, Fault
from gatepost_sql.database import Failure, pool_options
from gatepost_sql.ids import TEXT, IdType
from gatepost_sql.query import Statement
from gatepost_sql.rows import Column


class OtherDriver:
    """A database about which only what PEP 249 says is known."""

    batches = False
    mysql = False
    name_mark = '"'

    def __init__(self, url: URL, connections: int, deadline: float) -> None:
        """``deadline`` is in seconds."""
        self._url = url
        self._connections = connections
        self._deadline = deadline

    def create_engine(self) -> Engine:
        """Return an engine, which has no connection yet; raises ConfigError for a URL that can't be used."""
        try:
            engine = create_engine(
                self._url, **pool_options(self._connections, self._deadline), pool_recycle=300
            )
        except (SQLAlchemyError, ImportError, ValueError, TypeError):
            # Outside of this block: the error may quote the password.
            pass
        else:
            if not engine.dialect.is_async:
                return engine
        raise ConfigError(
            [Fault("url", "is of no database that SQLAlchemy has an installed, blocking driver for")]
        )

    def failure(self, error: BaseException) -> Failure | None:  # noqa: ARG002  nothing is known of these drivers
        """Return None: nothing is known of these drivers."""
        return None

    def column(self, name: str, _type_code: Any) -> Column:
        """Return a column."""
        return Column(name)

    def id_type(self, _type_code: Any) -> IdType:
        """Return a text that may be compared loosely."""
        return TEXT

    def begin(self, connection: Connection) -> None:
        """Do nothing."""

    def review(self, connection: Connection, statement: Statement) -> Sequence[str]:  # noqa: ARG002
        """Return that nothing is known of the plan."""
        return [
            "this database is not tested with Gatepost: see the plugin's README for what is not limited and checked"
        ]
