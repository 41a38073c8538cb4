"""The statement with which messages and callbacks are claimed."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Executable, Select, bindparam, func, null, select, update


def claim_statement(
    key: Column[Any],
    due: Select[Any],
    new_state: Mapping[str, str],
    returning: Sequence[ColumnElement[Any]],
    *,
    postgresql: bool,
) -> Executable:
    """Return the statement that claims the rows found by ``due``, which selects keys with their ``due_at``.

    Its parameters, besides those of ``due``: ``lease_end`` and ``claimed_by``. It returns the ``returning``
    columns, and on PostgreSQL the highest due time of all claimed rows as ``max_due_at``.
    """
    found = (due.with_for_update(skip_locked=True) if postgresql else due).cte("due")
    keys = select(found.c[key.name])
    is_due: ColumnElement[bool] = key.in_(keys)
    max_due_at: ColumnElement[Any] = null()
    if postgresql:
        # Not IN: when the planner expects many rows, it reads the whole table for the few that there are.
        is_due = key == func.any(func.array(keys.scalar_subquery()))
        max_due_at = select(func.max(found.c.due_at)).scalar_subquery()
    claim = update(key.table).where(is_due)
    values = {
        **new_state,
        "due_at": bindparam("lease_end"),
        "attempt": key.table.c.attempt + 1,
        "holder": bindparam("claimed_by"),
    }
    return claim.values(values).returning(*returning, max_due_at.label("max_due_at"))
