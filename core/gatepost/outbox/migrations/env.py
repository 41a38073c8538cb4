"""Alembic's environment; it runs on the connection that gatepost.outbox.migrate passes to it."""

from alembic import context

from gatepost.outbox import indexes  # noqa: F401  to import them adds them to their tables
from gatepost.outbox.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
