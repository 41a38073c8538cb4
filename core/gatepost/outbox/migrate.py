"""Bringing a store to this version's tables."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from gatepost.errors import ConfigError, Fault

HEAD = "0001"
"""The newest revision in migrations/versions; a test compares."""


def migrate(connection: Connection) -> bool:
    """Create or upgrade the tables; returns whether there was something to do.

    Raises ConfigError for a store that a newer Gatepost has already upgraded.
    """
    standing = _revision(connection)
    if standing == HEAD:
        return False
    # Late: most starts find nothing to do, and these cost memory for as long as the process lives.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    if standing:
        try:
            ScriptDirectory.from_config(config).get_revision(standing)
        except CommandError:
            raise ConfigError(
                [Fault("store.url", f"was made by a newer Gatepost (revision {standing}): upgrade this one")]
            ) from None
    command.upgrade(config, "head")
    return True


def _revision(connection: Connection) -> str:
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or "")
