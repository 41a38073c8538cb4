"""The first page: is everything fine, and what waits."""

from typing import Any

from litestar import Response, get

from gatepost.console.access import ConsoleRequest
from gatepost.console.rendering import page
from gatepost.console.services import SERVICES_KEY, ConsoleServices
from gatepost.web.admin import status
from gatepost.web.admin.requests import StatusRequest


@get("/")
async def overview_page(request: ConsoleRequest) -> Response[Any]:
    """Show what an operator should look at first."""
    services: ConsoleServices = request.app.state[SERVICES_KEY]
    found = await status.status(services.admin, StatusRequest(), request.user.actor)
    return page(request, "overview.html", found=found)
