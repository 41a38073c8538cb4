"""The page of the audit log."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from litestar import Response, get
from sqlalchemy import Connection

from gatepost.console.access import ConsoleRequest
from gatepost.console.rendering import page, text_field
from gatepost.console.services import SERVICES_KEY, ConsoleServices
from gatepost.outbox import audit, audit_chain, user_hash
from gatepost.outbox.audit import AuditFilter, AuditView

SHOWN = 50
"""Entries on a page."""


class Found(NamedTuple):
    """A page of the log."""

    entries: Sequence[AuditView]
    more: bool
    """Whether older ones are left."""
    broken: Sequence[int]
    """The numbers of entries on this page that were changed."""
    operations: Sequence[str]


@get("/audit")
async def audit_page(request: ConsoleRequest) -> Response[Any]:
    """Show who changed what, when and why, the newest first, and whether these entries are as they were written."""
    services: ConsoleServices = request.app.state[SERVICES_KEY]
    query, user = request.query_params, request.user.user
    before = text_field(query, "before")
    wanted = AuditFilter(
        actor=text_field(query, "actor").strip(),
        operation=text_field(query, "operation"),
        clients=user.clients,
        before=int(before) if before.isascii() and before.isdigit() and len(before) < 19 else None,
    )

    def read(connection: Connection) -> Found:
        rows = audit.find_rows(connection, wanted, SHOWN + 1)
        shown = rows[:SHOWN]
        return Found(
            [audit.view_of(row) for row in shown],
            len(rows) > SHOWN,
            audit_chain.faults_among(connection, shown),
            audit.operations(connection, user.clients),
        )

    found = await services.reader.read(read)
    targets = [_shown(one.target) for one in found.entries]
    return page(request, "audit.html", found=found, targets=targets, wanted=wanted)


def _shown(target: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: str(value)[: user_hash.SHOWN]
        if name == audit.USER
        else ", ".join(map(str, value))
        if isinstance(value, list)
        else str(value)
        for name, value in target.items()
    }
