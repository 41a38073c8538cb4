"""The first page: is everything fine, and what waits."""

from typing import Any

from litestar import Response, get

from gatepost.console.access import ConsoleRequest
from gatepost.console.rendering import page
from gatepost.console.services import SERVICES_KEY, ConsoleServices
from gatepost.outbox.overview import overview
from gatepost.upkeep.configured_limits import configured_limits
from gatepost.upkeep.problems import Known, find_problems
from gatepost.web.admin import status
from gatepost.web.admin.requests import StatusRequest


@get("/")
async def overview_page(request: ConsoleRequest) -> Response[Any]:
    """Show what an operator should look at first."""
    services: ConsoleServices = request.app.state[SERVICES_KEY]
    settings, clock = services.admin.settings, services.reader.clock
    gateway = await status.status(services.admin, StatusRequest(), request.user.actor)
    found = await services.reader.read(
        lambda connection: overview(connection, clock(connection), configured_limits(settings))
    )
    problems = find_problems(Known(settings, gateway, found))
    return page(request, "overview.html", problems=problems, found=found)
