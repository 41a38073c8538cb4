"""The table that says which versions of Gatepost can use the store."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table with the oldest revision whose Gatepost can use these tables."""
    table = op.create_table(
        "compatibility",
        sa.Column("oldest_revision", sa.Text, primary_key=True),
        sqlite_with_rowid=False,
        sqlite_strict=True,
    )
    op.bulk_insert(table, [{"oldest_revision": "0003"}])
