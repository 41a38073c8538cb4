"""The first page: is everything fine, what flows, and what waits."""

from functools import partial
from typing import Any, NamedTuple

import msgspec
from litestar import Response, get

from gatepost.console.access import ConsoleRequest
from gatepost.console.overview_figures import Figures, read_figures
from gatepost.console.rendering import page
from gatepost.console.services import SERVICES_KEY, ConsoleServices
from gatepost.outbox.console_users import ConsoleUser
from gatepost.outbox.overview import CallbackOverview, Overview, overview
from gatepost.upkeep.configured_limits import configured_limits
from gatepost.upkeep.problems import Known, Problem, find_problems
from gatepost.upkeep.status import GatewayStatus
from gatepost.web.admin import status
from gatepost.web.admin.requests import StatusRequest

STATUS_SECONDS = 3.0
"""How long what waits, and what is wrong, is shown without reading it again."""

FIGURES_SECONDS = 15.0
"""How long what was counted is shown without counting it again."""


class _Found(NamedTuple):
    """What is known of the gateway and of the store."""

    gateway: GatewayStatus
    store: Overview


@get("/")
async def overview_page(request: ConsoleRequest) -> Response[Any]:
    """Show what an operator should look at first, and the traffic."""
    services: ConsoleServices = request.app.state[SERVICES_KEY]
    user: ConsoleUser = request.user.user
    found = await services.recent.get("status", STATUS_SECONDS, partial(_read_status, services))
    figures = await services.recent.get(
        ("figures", tuple(user.clients)), FIGURES_SECONDS, partial(_read_figures, services, user)
    )
    store = _of_clients(found.store, user) if user.clients else found.store
    problems = find_problems(Known(services.admin.settings, found.gateway, found.store))
    shown = find_problems(Known(services.admin.settings, None, store)) if user.clients else problems
    return page(
        request,
        "overview.html",
        problems=shown,
        has_others=bool(_subjects(problems) - _subjects(shown)),
        store=store,
        figures=figures,
    )


async def _read_status(services: ConsoleServices) -> _Found:
    settings, clock = services.admin.settings, services.reader.clock
    # Without an actor: it is read for everybody who looks, and reading is not in the audit log.
    gateway = await status.status(services.admin, StatusRequest(), "")
    store = await services.reader.read(
        lambda connection: overview(connection, clock(connection), configured_limits(settings))
    )
    return _Found(gateway, store)


async def _read_figures(services: ConsoleServices, user: ConsoleUser) -> Figures:
    clock = services.reader.clock
    return await services.reader.read(
        lambda connection: read_figures(connection, user.clients, clock(connection))
    )


def _of_clients(store: Overview, user: ConsoleUser) -> Overview:
    """Return what a user of some clients may see; the age of the oldest callback is not known by client."""
    targets = [one for one in store.callbacks.targets if user.may_see(one.client)]
    callbacks = CallbackOverview(
        waiting=sum(one.waiting for one in targets),
        age=0.0,
        dead=sum(one.dead for one in targets),
        targets=targets,
    )
    waiting = [one for one in store.waiting if user.may_see(one.client)]
    # The limits of others, and of routes that several clients use, are not theirs.
    return msgspec.structs.replace(store, waiting=waiting, callbacks=callbacks, limits=[])


def _subjects(problems: list[Problem]) -> set[tuple[str, str]]:
    return {(one.kind, one.subject) for one in problems}
