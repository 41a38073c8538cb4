"""Migration of a store to the tables of this version.

A migration only adds, so that the version before can use the store too: docs/explanation/design.md has the rules.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sqlalchemy import Connection, inspect, select, text

from gatepost.errors import ConfigError, Fault
from gatepost.observe import logs
from gatepost.outbox.compatibility_schema import compatibility

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0003"
"""The newest revision in migrations/versions; a test compares them. Revisions are in the order of their names."""

FOLDER = Path(__file__).with_name("migrations")
"""The folder of Alembic's environment and of the migrations."""

TablesState = Literal["missing", "older", "current", "newer"]
"""The state of a store's tables, compared with this version's; newer ones can be used."""

_log = logs.get(__name__)


def migrate(connection: Connection) -> bool:
    """Create or upgrade the tables; return whether there was something to do.

    Newer tables that this version can use are left as they are. Raises ConfigError for those that it can't use.
    """
    state = tables_state(connection)
    if state == "newer":
        _log.info("store_newer", revision=_revision(connection), own_revision=HEAD)
    if state in {"current", "newer"}:
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
    if revision < HEAD:
        return "older"
    oldest = _oldest_revision(connection)
    if oldest and oldest <= HEAD:
        return "newer"
    problem = (
        f"a newer Gatepost has upgraded this store (revision {revision}), and this version (revision {HEAD}) can't use it: "
        "start the newer Gatepost, or restore a backup from before the upgrade"
    )
    raise ConfigError([Fault("store.url", problem)])


def _config() -> "Config":
    from alembic.config import Config  # noqa: PLC0415  as above

    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    return config


def _revision(connection: Connection) -> str:
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or "")


def _oldest_revision(connection: Connection) -> str:
    """Return the oldest revision whose Gatepost can use the store; empty if the store does not say it."""
    if not inspect(connection).has_table(compatibility.name):
        return ""
    return str(connection.execute(select(compatibility.c.oldest_revision)).scalar() or "")
