"""What the plugin needs of a database, whichever driver leads there."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from gatepost_sql.ids import IdType
from gatepost_sql.query import Query
from gatepost_sql.rows import Inspection, Row


class Failure(NamedTuple):
    """Why a database did not answer."""

    reason: str
    code: str = ""
    misconfigured: bool = False
    """Whether only the operator can fix the cause."""
    is_query: bool = False
    """Whether the query is wrong, so that it fails for every user."""
    is_connection: bool = False
    """Whether the connection was lost; on another one the query may succeed."""
    is_unknown_text: bool = False
    """Whether a text has characters that the database can't store."""
    is_row: bool = False
    """Whether what stands in one row may be the cause, so that other users' rows are well."""


class Database(Protocol):
    """A pool of connections to one database. Every method raises the driver's errors, which ``failure`` explains."""

    batches: bool
    """Whether it can look up several users with one query."""
    mysql: bool
    """Whether its queries are written as in MySQL."""
    name_mark: str
    """The character around a quoted name."""

    async def open(self) -> None:
        """Prepare the pool; connects to nothing."""

    async def close(self) -> None:
        """Close every connection."""

    def failure(self, error: BaseException) -> Failure | None:
        """Explain an error of the driver; None for an error that is not one. Nothing of the error's text is in it."""

    async def inspect(self, query: Query) -> Inspection:
        """Ask the server about the parameter and the columns of the query that finds a contact."""

    async def columns(self, query: Query) -> Sequence[str]:
        """Ask the server about the names of the columns of any other query."""

    async def find(
        self, query: Query, id_type: IdType, values: Mapping[str, object]
    ) -> Mapping[str, Sequence[Row]]:
        """Return the rows of users, up to MAX_ROWS for each, by ext_user_id; ``values`` are those of the parameter."""

    async def fetch(self, query: Query, values: Mapping[str, object], limit: int) -> Sequence[Row]:
        """Return up to ``limit`` rows of any other query."""

    async def review(self, query: Query, sample: Mapping[str, object]) -> Sequence[str]:
        """Return what an operator should know about the plan of a query and about the user's rights."""

    async def data_age(self) -> float | None:
        """Return how many seconds the data are behind their origin; None where they are the origin.

        Raises Unavailable where that is not known now.
        """


def pool_options(connections: int, deadline: float) -> dict[str, Any]:
    """Return options of an engine of SQLAlchemy: so many connections and no more, and no values in its errors.

    A lookup waits at most ``deadline`` seconds for a connection.
    """
    return {
        "pool_size": connections,
        "max_overflow": 0,
        "pool_timeout": deadline,
        "hide_parameters": True,
    }
