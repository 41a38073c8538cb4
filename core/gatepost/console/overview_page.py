"""The first page: is everything fine, how the parts are, what flows, and what waits."""

import time
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from litestar import Response, get

from gatepost.console.access import ConsoleRequest
from gatepost.console.host_rows import HostRow, host_rows
from gatepost.console.overview_figures import Figures, read_figures
from gatepost.console.own_parts import own_parts
from gatepost.console.own_status import own_gateway, own_problems, own_rates, own_store, own_warmups
from gatepost.console.rendering import page
from gatepost.console.services import SERVICES_KEY, ConsoleServices
from gatepost.outbox.console_users import ConsoleUser
from gatepost.outbox.overview import Overview, overview
from gatepost.outbox.states import FINAL_STATES, State
from gatepost.upkeep.configured_limits import configured_limits
from gatepost.upkeep.problems import Kind, Known, Problem, find_problems
from gatepost.upkeep.status import GatewayStatus
from gatepost.web.admin import status
from gatepost.web.admin.requests import StatusRequest

STATUS_SECONDS = 3.0
"""How long what waits, and what is wrong, is shown without reading it again."""

FIGURES_SECONDS = 15.0
"""How long what was counted is shown without counting it again."""

MAX_HOSTS = 5
"""Hosts of callbacks on the page: those with the most callbacks that were given up, then that wait."""

_PLUGINS, _CALLBACKS = ("/plugins", "Plugins"), ("/callbacks", "Callbacks")

_WAYS: Mapping[Kind, tuple[str, str]] = {
    Kind.ROUTE_BLOCKED: _PLUGINS,
    Kind.MISCONFIGURED: _PLUGINS,
    Kind.RESTING: _PLUGINS,
    Kind.WARMUP_FULL: _PLUGINS,
    Kind.QUEUE_OLD: ("/messages?state=queued", "The messages"),
    Kind.SOURCE_FAILS: _PLUGINS,
    Kind.CONTACTS_REFUSED: _PLUGINS,
    Kind.CONTACTS_STALE: _PLUGINS,
    Kind.HELD: ("/messages?state=held", "The messages"),
    Kind.CALLBACKS_DEAD: _CALLBACKS,
    Kind.CALLBACKS_REST: _CALLBACKS,
    Kind.CALLBACKS_OLD: _CALLBACKS,
}
"""The page that shows more of a problem, and what the link to it says."""


class _Found(NamedTuple):
    """What is known of the gateway and of the store."""

    gateway: GatewayStatus
    store: Overview


@get("/")
async def overview_page(request: ConsoleRequest) -> Response[Any]:
    """Show what an operator should look at first, how the parts are, and the traffic."""
    services: ConsoleServices = request.app.state[SERVICES_KEY]
    settings, user = services.admin.settings, request.user.user
    found = await services.recent.get("status", STATUS_SECONDS, partial(_read_status, services))
    figures = await services.recent.get(
        ("figures", tuple(user.clients)), FIGURES_SECONDS, partial(_read_figures, services, user)
    )
    gateway = own_gateway(settings, user, found.gateway)
    store = own_store(settings, user, found.store)
    problems = own_problems(user, Known(settings, gateway, store))
    hosts = host_rows(store.callbacks, gateway)
    return page(
        request,
        "overview.html",
        problems=problems,
        ways={kind.name.lower(): way for kind, way in _WAYS.items()},
        has_others=_has_others(problems, Known(settings, *found)),
        gateway=gateway,
        store=store,
        figures=figures,
        unfinished=[state for state in State if state not in FINAL_STATES],
        now=time.time(),
        own=own_parts(settings, user),
        rates=own_rates(settings, user, gateway),
        warmups=own_warmups(settings, user, store.warmups),
        hosts=sorted(hosts, key=_urgency)[:MAX_HOSTS],
        more_hosts=max(0, len(hosts) - MAX_HOSTS),
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


def _has_others(shown: list[Problem], everything: Known) -> bool:
    """Return whether there are problems that are not shown to this user."""
    seen = {(one.kind, one.subject) for one in shown}
    return any((one.kind, one.subject) not in seen for one in find_problems(everything))


def _urgency(host: HostRow) -> tuple[int, bool, int, str, str]:
    return -host.dead, host.rest is None, -host.waiting, host.target, host.client
