import hashlib
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, text

from gatepost.outbox import audit_schema, console_schema, indexes, status_schema
from gatepost.outbox import migrate as migrate_module
from gatepost.outbox.migrate import HEAD, migrate
from made_up_migrations import NEXT, REPLACES, newer_version

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


FROZEN = {
    "0001_first.py": "7886e917973fd19330e6cce12987943aa1f54a95b1530f5de71d860cbb7c1b6d",
    "0002_operations.py": "6c468fc6e0831132c07de5ee57470141bd55435bf321ecf40fe2596eaa07d3c9",
    "0003_compatibility.py": "c8a560db7b4b4c57aab5d0e35e4fa31cb4fe97d3fba2c10be9fce341820dc12c",
}
"""The migrations that a release has, or that a store in use may have seen, and the SHA-256 of each."""


def test_a_migration_that_stores_have_seen_is_never_changed():
    """A store does not run it again, so it would have other tables than a new one."""
    changed = [
        name
        for name, digest in FROZEN.items()
        if hashlib.sha256((migrate_module.FOLDER / "versions" / name).read_bytes()).hexdigest() != digest
    ]

    assert changed == [], "restore the file, and add a migration of its own for the change"


def revisions():
    return sorted(file.name[:4] for file in (migrate_module.FOLDER / "versions").glob("*.py"))


def test_revisions_are_numbers_without_a_gap():
    """An older version compares them as texts to see whether a store is newer."""
    assert revisions() == [f"{number:04}" for number in range(1, int(migrate_module.HEAD) + 1)]


class Tables:
    """The tables of a store as a version that does not know the newer ones depends on them."""

    def __init__(self, connection):
        inspector = inspect(connection)
        self.columns, self.rules = {}, set()
        for table in inspector.get_table_names():
            for column in inspector.get_columns(table):
                required = not column["nullable"] and column["default"] is None
                self.columns[table, column["name"]] = (str(column["type"]), column["nullable"], required)
            self.rules |= {(table, "key", *inspector.get_pk_constraint(table)["constrained_columns"])}
            unique = [*inspector.get_unique_constraints(table), *inspector.get_indexes(table)]
            self.rules |= {
                (table, "unique", *sorted(one["column_names"])) for one in unique if one.get("unique", True)
            }


def changes_for_the_version_before(before, after):
    """Return what differs for a version that uses the tables of ``before``."""
    old_tables = {table for table, _ in before.columns}
    found = {name for name, kind in before.columns.items() if after.columns.get(name) != kind}
    found |= {
        name
        for name, (_, _, required) in after.columns.items()
        if name not in before.columns and name[0] in old_tables and required
    }
    return found | {rule for rule in before.rules ^ after.rules if rule[0] in old_tables}


def upgrade_to(connection, revision):
    config = migrate_module._config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
    return Tables(connection)


def undeclared_changes(engine):
    """Apply the migrations one after the other; return for each what it changes without a word to older versions."""
    undeclared = {}
    with engine.begin() as connection:
        tables = upgrade_to(connection, "0003")
        oldest = oldest_revision(connection)
        for revision in revisions()[3:]:
            tables_before, tables = tables, upgrade_to(connection, revision)
            oldest_before, oldest = oldest, oldest_revision(connection)
            if oldest == oldest_before and (changed := changes_for_the_version_before(tables_before, tables)):
                undeclared[revision] = changed
    return undeclared


def oldest_revision(connection):
    return connection.execute(text("SELECT oldest_revision FROM compatibility")).scalar_one()


def test_each_migration_only_adds_or_says_that_older_versions_cannot_use_the_store(engine):
    """The rules are in docs/explanation/design.md, under "Changes of the tables"."""
    assert undeclared_changes(engine) == {}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ('op.drop_table("pauses")', "pauses"),
        ('op.drop_column("messages", "reason")', "messages"),
        ('op.alter_column("messages", "preview", new_column_name="preview_of")', "messages"),
        ('op.add_column("messages", sa.Column("later", sa.Text))', ""),
        ('op.create_index("once", "messages", ["expires_at"])', ""),
        ('op.create_index("once", "refusals", ["uid"], unique=True)', "refusals"),
        ("op.execute(\"ALTER TABLE messages ADD COLUMN later TEXT NOT NULL DEFAULT ''\")", ""),
        ('op.create_table("labels", sa.Column("label", sa.Text, nullable=False))', ""),
        (REPLACES.partition("upgrade():")[2], ""),
    ],
)
def test_a_change_that_is_more_than_an_addition_is_found(engine, tmp_path, change, found):
    migration = (
        f"{REPLACES.partition('def')[0]}import sqlalchemy as sa\ndef upgrade():\n    {change.strip()}\n"
    )
    with newer_version(tmp_path, migration):
        assert {table for table, *_ in undeclared_changes(engine).get(NEXT, ())} == (
            {found} if found else set()
        )
