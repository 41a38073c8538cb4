from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

from gatepost.outbox import audit_schema, console_schema, indexes, status_schema
from gatepost.outbox import migrate as migrate_module
from gatepost.outbox.migrate import HEAD, migrate

# All tables: those of the status are in a module of their own.
metadata = status_schema.metadata


@pytest.fixture
def engine(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'outbox.db'}")
    yield engine
    engine.dispose()


def sql_of(connection):
    """Return the SQL of every table and index as SQLite stored it, without spaces."""
    rows = connection.execute(text("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
    return {(kind, name): "".join(sql.split()) for kind, name, sql in rows if "alembic" not in name}


def test_the_migrations_create_the_tables_of_the_schema(engine):
    with engine.begin() as connection:
        assert migrate(connection)
        assert len(indexes.INDEXES) == 10
        assert console_schema.console_users.metadata is metadata
        assert audit_schema.audit_head.metadata is metadata
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_the_migrations_create_exactly_the_same_sql(engine):
    with engine.begin() as connection:
        migrate(connection)
        migrated = sql_of(connection)
        metadata.drop_all(connection)
        metadata.create_all(connection)
        assert migrated == sql_of(connection)


def test_a_current_store_is_not_changed(engine):
    with engine.begin() as connection:
        migrate(connection)
        before = sql_of(connection)

        assert not migrate(connection)

        assert sql_of(connection) == before


def test_the_newest_revision_is_head():
    config = Config()
    config.set_main_option("script_location", str(Path(migrate_module.__file__).with_name("migrations")))

    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]
