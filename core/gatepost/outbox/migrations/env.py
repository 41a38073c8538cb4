"""Run by Alembic on the connection that gatepost.outbox.migrate hands it."""

from alembic import context

from gatepost.outbox import indexes  # noqa: F401  they join their tables
from gatepost.outbox.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
