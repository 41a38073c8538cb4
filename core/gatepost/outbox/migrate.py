"""Migration of a store to the tables of this version."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sqlalchemy import Connection, inspect, text

from gatepost.errors import ConfigError, Fault

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0002"
"""The newest revision in migrations/versions; a test compares them."""

TablesState = Literal["missing", "older", "current"]
"""The state of a store's tables, compared with this version's."""


def migrate(connection: Connection) -> bool:
    """Create or upgrade the tables; return whether there was something to do.

    Raises ConfigError for a store that a newer Gatepost has already upgraded.
    """
    if tables_state(connection) == "current":
        return False
    # Imported late: most starts find nothing to do, and the import costs memory as long as the process runs.
    from alembic import command  # noqa: PLC0415

    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return True


def tables_state(connection: Connection) -> TablesState:
    """Return the state of the tables, and change nothing; raise ConfigError as ``migrate`` does."""
    revision = _revision(connection)
    if not revision:
        return "missing"
    if revision == HEAD:
        return "current"
    # Imported late, as above.
    from alembic.script import ScriptDirectory  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    try:
        ScriptDirectory.from_config(_config()).get_revision(revision)
    except CommandError:
        problem = (
            f"a newer Gatepost has upgraded this store (revision {revision}), which this version can't read: "
            "start the newer Gatepost, or restore a backup from before the upgrade"
        )
        raise ConfigError([Fault("store.url", problem)]) from None
    return "older"


def _config() -> "Config":
    from alembic.config import Config  # noqa: PLC0415  as above

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    return config


def _revision(connection: Connection) -> str:
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or "")
