"""The page of the audit log."""

from functools import partial
from typing import Any

from litestar import Response, get

from gatepost.console.access import ConsoleRequest
from gatepost.console.rendering import page
from gatepost.console.services import SERVICES_KEY, ConsoleServices
from gatepost.outbox import audit

SHOWN = 200
"""Entries on the page."""


@get("/audit")
async def audit_page(request: ConsoleRequest) -> Response[Any]:
    """Show who changed what, when and why, the newest first."""
    services: ConsoleServices = request.app.state[SERVICES_KEY]
    entries = await services.reader.read(partial(audit.list_entries, limit=SHOWN))
    return page(request, "audit.html", entries=entries, shown=SHOWN)
