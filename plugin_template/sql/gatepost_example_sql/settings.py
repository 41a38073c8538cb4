"""The settings that an operator writes into ``[plugins.NAME]``."""

from typing import Annotated

import msgspec
from gatepost.errors import ConfigError, Fault
from gatepost.model import Secret
from msgspec import Meta
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import SQLAlchemyError


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``[plugins.NAME]`` table with ``use = "example-sql"``."""

    url: Annotated[Secret, Meta(description="the database as a URL of SQLAlchemy, with user and password")]
    connections: Annotated[int, Meta(ge=1, le=64, description="connections to the database")] = 4


def engine(settings: Settings) -> Engine:
    """Return the engine for these settings, which has no connection yet; raise ConfigError for a URL that has none."""
    try:
        return create_engine(
            settings.url.reveal(),
            pool_size=settings.connections,
            max_overflow=0,
            # A connection that the database closed while nobody used it is replaced.
            pool_pre_ping=True,
            # Without it, errors would quote the values of a query.
            hide_parameters=True,
        )
    except (SQLAlchemyError, ImportError, ValueError, TypeError):
        # Outside of this block: the error may quote the password.
        pass
    raise ConfigError([Fault("url", "is no URL of SQLAlchemy, or its driver is not installed")])
