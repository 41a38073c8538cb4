"""The page of the plugins: how each one does, and what is paused."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec
from litestar import Response, get, post
from litestar.response import Redirect
from sqlalchemy import Connection

from gatepost.config.settings import Settings
from gatepost.console.access import ConsoleRequest
from gatepost.console.own_parts import may_change, own_parts, stopped_clients
from gatepost.console.own_status import own_gateway, own_pauses, own_problems, own_rates, own_warmups
from gatepost.console.rendering import page, text_field
from gatepost.console.services import SERVICES_KEY, ConsoleServices
from gatepost.model import Channel
from gatepost.outbox import pauses as stored_pauses
from gatepost.outbox import warmups
from gatepost.outbox.console_users import ConsoleUser
from gatepost.outbox.overview import ReducedShare, reduced_shares
from gatepost.outbox.pauses import Pause, Scope
from gatepost.outbox.try_errors import NewestErrors, newest_errors
from gatepost.outbox.warmups import WarmupView
from gatepost.upkeep.problems import Kind, Known
from gatepost.web.admin import pauses, status
from gatepost.web.admin.requests import PauseRequest, ResumeRequest, StatusRequest
from gatepost.web.admin.services import OperationRefused

ENDS: Mapping[str, tuple[str, float | None]] = {
    "": ("until it is resumed", None),
    "15m": ("after 15 minutes", 900.0),
    "1h": ("after an hour", 3600.0),
    "4h": ("after 4 hours", 14_400.0),
    "24h": ("after a day", 86_400.0),
    "7d": ("after a week", 604_800.0),
}
"""When a pause may end: by the form's value a text, and seconds from now."""

FIELDS = ("plugin", "route", "channel", "client")

_KINDS = {
    kind.name.lower()
    for kind in (
        Kind.ROUTE_BLOCKED,
        Kind.MISCONFIGURED,
        Kind.RESTING,
        Kind.SOURCE_FAILS,
        Kind.CONTACTS_REFUSED,
        Kind.CONTACTS_STALE,
    )
}
"""The problems that this page is about."""


class Stored(msgspec.Struct, frozen=True):
    """What the page needs of the store."""

    pauses: list[Pause]
    shares: list[ReducedShare]
    newest: NewestErrors
    warmups: list[WarmupView]


@get("/plugins")
async def plugins_page(request: ConsoleRequest) -> Response[Any]:
    """Show the plugins, and the form that pauses."""
    filled = {name: text_field(request.query_params, name) for name in FIELDS}
    return await _page(request, filled=filled)


@post("/plugins/pause", status_code=303)
async def pause(request: ConsoleRequest) -> Response[Any]:
    """Pause what the form says, or show the page again with the reason why not."""
    services: ConsoleServices = request.app.state[SERVICES_KEY]
    form = await request.form()
    filled = {name: text_field(form, name) for name in (*FIELDS, "reason", "until")}
    try:
        order = _order(request, filled)
        await pauses.pause(services.admin.settings, services.admin.outbox, order, request.user.actor)
    except (OperationRefused, ValueError) as error:
        return await _page(request, status_code=400, filled=filled, problem=str(error))
    return Redirect("/plugins#pauses", status_code=303)


@post("/plugins/resume", status_code=303)
async def resume(request: ConsoleRequest) -> Response[Any]:
    """End the pause with exactly this scope, or show the page again with the reason why not."""
    services: ConsoleServices = request.app.state[SERVICES_KEY]
    form = await request.form()
    settings, user = services.admin.settings, request.user.user
    try:
        order = ResumeRequest(scope=_scope({name: text_field(form, name) for name in FIELDS}))
        _require_own(settings, user, order.scope)
        await pauses.resume(settings, services.admin.outbox, order, request.user.actor)
    except OperationRefused as error:
        # The operation's own text names every pause.
        problem = "you may not end this pause, or it has ended already" if user.clients else str(error)
        return await _page(request, status_code=400, filled={}, problem=problem)
    return Redirect("/plugins#pauses", status_code=303)


def _require_own(settings: Settings, user: ConsoleUser, scope: Scope | None) -> None:
    if scope is None or not may_change(settings, user, scope):
        raise OperationRefused("this pause also stops clients that you may not see")


def _order(request: ConsoleRequest, filled: Mapping[str, str]) -> PauseRequest:
    """Return what the form orders; raise OperationRefused or ValueError."""
    services: ConsoleServices = request.app.state[SERVICES_KEY]
    settings, user = services.admin.settings, request.user.user
    scope = _scope(filled)
    own = own_parts(settings, user)
    for name, known in (("plugin", own.instances), ("route", own.routes), ("client", own.clients)):
        if filled[name] and filled[name] not in known:
            raise OperationRefused(f"there is no such {name}: choose one of the list")
    if not scope.is_empty and stopped_clients(settings, scope) and not may_change(settings, user, scope):
        raise OperationRefused(
            f"other clients use this too: choose your client as well ({', '.join(own.clients)})"
        )
    if user.clients and len(own.clients) == 1 and not scope.is_empty:
        # It stops nothing less, also if other clients use this later, and stands in the audit log as this client's.
        scope = msgspec.structs.replace(scope, client=own.clients[0])
    if filled["until"] not in ENDS:
        raise OperationRefused("choose an end of the list")
    seconds = ENDS[filled["until"]][1]
    ends_at = None if seconds is None else time.time() + seconds
    return PauseRequest(scope=scope, reason=filled["reason"].strip(), ends_at=ends_at)


def _scope(filled: Mapping[str, str]) -> Scope:
    channel = filled["channel"]
    if channel and channel not in list(Channel):
        raise OperationRefused("there is no such channel: choose one of the list")
    return Scope(
        client=filled["client"],
        channel=Channel(channel) if channel else None,
        route=filled["route"],
        plugin=filled["plugin"],
    )


async def _page(
    request: ConsoleRequest, *, filled: Mapping[str, str], problem: str = "", status_code: int = 200
) -> Response[Any]:
    services: ConsoleServices = request.app.state[SERVICES_KEY]
    settings, user = services.admin.settings, request.user.user
    own = own_parts(settings, user)
    everything = await status.status(services.admin, StatusRequest(), request.user.actor)
    gateway = own_gateway(settings, user, everything)
    stored = await services.reader.read(partial(_read, clock=services.reader.clock, user=user))
    shown = own_pauses(settings, user, stored.pauses)
    problems = own_problems(user, Known(settings, gateway, None))
    return page(
        request,
        "plugins.html",
        status=status_code,
        now=time.time(),
        own=own,
        gateway=gateway,
        rates=own_rates(settings, user, gateway),
        problems=[one for one in problems if one.kind in _KINDS],
        shares=[one for one in stored.shares if one.route in own.routes],
        newest=stored.newest,
        warmups=own_warmups(settings, user, stored.warmups),
        pauses=[(one, may_change(settings, user, one.scope)) for one in shown],
        paused_plugins={one.scope.plugin for one in shown},
        channels=[channel.value for channel in Channel],
        ends={value: text for value, (text, _) in ENDS.items()},
        filled=filled,
        problem=problem,
    )


def _read(connection: Connection, clock: Callable[[Connection], int], user: ConsoleUser) -> Stored:
    now = clock(connection)
    return Stored(
        stored_pauses.in_force(connection, now),
        reduced_shares(connection),
        newest_errors(connection, now, user.clients),
        warmups.find(connection),
    )
