"""Made-up migrations of a newer Gatepost: one that adds, and one that the version before can't live with."""

import shutil
from contextlib import contextmanager

import pytest

from gatepost.outbox import migrate

NEXT = f"{int(migrate.HEAD) + 1:04}"
"""The revision of the made-up migration."""

# A nullable column, a column with a default, a table and an index. The column and the table hold data about a user, so
# triggers erase it when a version that does not know them forgets the user or deletes the message.
ADDS = """\
import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"

SQLITE = '''
CREATE TRIGGER forget_later AFTER UPDATE OF ext_user_id ON messages WHEN NEW.ext_user_id = ''
BEGIN UPDATE messages SET later = NULL WHERE id = NEW.id; DELETE FROM labels WHERE message_id = NEW.id; END;
--
CREATE TRIGGER delete_labels AFTER DELETE ON messages
BEGIN DELETE FROM labels WHERE message_id = OLD.id; END;
'''
POSTGRESQL = '''
CREATE FUNCTION forget_later() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.later := NULL; DELETE FROM labels WHERE message_id = NEW.id; RETURN NEW; END $$
--
CREATE TRIGGER forget_later BEFORE UPDATE OF ext_user_id ON messages
FOR EACH ROW WHEN (NEW.ext_user_id = '') EXECUTE FUNCTION forget_later()
--
CREATE FUNCTION delete_labels() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN DELETE FROM labels WHERE message_id = OLD.id; RETURN OLD; END $$
--
CREATE TRIGGER delete_labels AFTER DELETE ON messages FOR EACH ROW EXECUTE FUNCTION delete_labels()
'''


def upgrade():
    op.add_column("messages", sa.Column("later", sa.Text))
    op.add_column("statuses", sa.Column("weight", sa.Integer, nullable=False, server_default="7"))
    op.create_table("labels", sa.Column("message_id", sa.Text, primary_key=True), sa.Column("label", sa.Text))
    op.create_index("messages_created_at", "messages", ["created_at"])
    statements = SQLITE if op.get_context().dialect.name == "sqlite" else POSTGRESQL
    for statement in statements.split("--\\n"):
        op.execute(sa.text(statement))
"""

REPLACES = """\
from alembic import op

revision = "{revision}"
down_revision = "{before}"


def upgrade():
    op.execute("ALTER TABLE messages RENAME COLUMN preview TO preview_of")
    op.execute("UPDATE compatibility SET oldest_revision = '{revision}'")
"""


def write_folder(folder, migration):
    """Copy the migrations into the folder, with one more; return where they are."""
    migrations = folder / "newer"
    shutil.copytree(migrate.FOLDER, migrations)
    file = migrations / "versions" / f"{NEXT}_later.py"
    file.write_text(migration.format(revision=NEXT, before=migrate.HEAD))
    return migrations


@contextmanager
def newer_version(folder, migration):
    """Run what is in the context with one migration more; the migrations are in the folder meanwhile."""
    migrations = write_folder(folder, migration)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrate, "FOLDER", migrations)
        patch.setattr(migrate, "HEAD", NEXT)
        yield
    shutil.rmtree(migrations)
