"""The page of the callbacks to Smartico: the hosts, and what was given up."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from litestar import Response, get, post
from litestar.response import Redirect
from sqlalchemy import Connection

from gatepost.console.access import ConsoleRequest
from gatepost.console.rendering import page, text_field
from gatepost.console.services import SERVICES_KEY, ConsoleServices
from gatepost.outbox import dead_callbacks, queries
from gatepost.outbox.console_users import ConsoleUser
from gatepost.outbox.dead_callbacks import DeadCallback, Place, Selection
from gatepost.outbox.overview import CallbackOverview, callback_overview
from gatepost.upkeep.problems import Kind, Known, find_problems
from gatepost.web.admin import retries, status
from gatepost.web.admin.requests import MAX_IDS, RetryRequest, StatusRequest

SHOWN = 50
"""Dead letters on a page."""

MAX_REPEATED = 5_000
"""Messages whose callbacks one press of a button makes again: more would keep the browser waiting."""


class Stored(NamedTuple):
    """What the page needs of the store."""

    now: int
    callbacks: CallbackOverview
    dead: list[DeadCallback]


class Wanted(NamedTuple):
    """Which dead letters are shown; an empty field holds for all."""

    client: str
    target: str
    after: Place | None


@get("/callbacks")
async def callbacks_page(request: ConsoleRequest) -> Response[Any]:
    """Show the hosts, and the dead letters of all or of one."""
    return await _page(request)


@post("/callbacks/tell", status_code=303)
async def tell_again(request: ConsoleRequest) -> Response[Any]:
    """Make the callbacks of one message, all to a host, or all that were given up when the page was shown."""
    services: ConsoleServices = request.app.state[SERVICES_KEY]
    form = await request.form()
    message_id, target = text_field(form, "message"), text_field(form, "target")
    user, client = request.user.user, text_field(form, "client")
    if client and not user.may_see(client):
        return await _page(request, problem="there is no such client")
    if message_id:
        ids = await services.reader.read(partial(_own_ids, message_id=message_id, user=user))
        if not ids:
            return await _page(request, problem="there is no such message")
    else:
        until = _number(text_field(form, "until"))
        if until is None:
            return await _page(request, problem="this form is not complete: reload the page and try again")
        selection = Selection(until, [client] if client else user.clients, target, bool(target))
        ids = await services.reader.read(
            lambda connection: dead_callbacks.selected_ids(connection, selection, MAX_REPEATED)
        )
    repeated = 0
    for start in range(0, len(ids), MAX_IDS):
        order = RetryRequest(ids=ids[start : start + MAX_IDS])
        results = await retries.tell_now(services.admin, order, request.user.actor)
        repeated += sum(one.callbacks for one in results)
    return Redirect("/callbacks", query_params={"repeated": str(repeated)}, status_code=303)


def _own_ids(connection: Connection, message_id: str, user: ConsoleUser) -> list[str]:
    found = queries.views_of_ids(connection, [message_id])
    return [one.id for one in found if user.may_see(one.client)]


async def _page(request: ConsoleRequest, problem: str = "") -> Response[Any]:
    services: ConsoleServices = request.app.state[SERVICES_KEY]
    user, wanted = request.user.user, _wanted(request)
    query = partial(_read, clock=services.reader.clock, wanted=wanted, user=user)
    stored = await services.reader.read(query)
    gateway = await status.status(services.admin, StatusRequest(), request.user.actor)
    resting = {(one.client, one.target): one for one in gateway.resting_targets if user.may_see(one.client)}
    hosts = {(one.client, one.target): one for one in stored.callbacks.targets}
    more = len(stored.dead) > SHOWN
    return page(
        request,
        "callbacks.html",
        status=400 if problem else 200,
        found=stored.callbacks,
        hosts=[(key, hosts.get(key), resting.get(key)) for key in sorted(hosts.keys() | resting.keys())],
        problems=[
            one
            for one in find_problems(Known(services.admin.settings, gateway, None))
            if one.kind == Kind.CALLBACKS_REST.name.lower()
            and (not user.clients or one.subject.split(" ")[0] in user.clients)
        ],
        dead=stored.dead[:SHOWN],
        next_place=" ".join(map(str, _place(stored.dead[SHOWN - 1]))) if more else "",
        until=stored.now,
        client=wanted.client,
        target=wanted.target,
        repeated=_number(text_field(request.query_params, "repeated")),
        max_repeated=MAX_REPEATED,
        problem=problem,
    )


def _wanted(request: ConsoleRequest) -> Wanted:
    query = request.query_params
    place = text_field(query, "after").split(" ")
    seq = _number(place[2]) if len(place) == 3 else None
    after = None if seq is None else Place(place[0], place[1], seq)
    return Wanted(text_field(query, "client"), text_field(query, "target"), after)


def _read(
    connection: Connection, clock: Callable[[Connection], int], wanted: Wanted, user: ConsoleUser
) -> Stored:
    now = clock(connection)
    found = callback_overview(connection, now, user.clients)
    if wanted.client and not user.may_see(wanted.client):
        return Stored(now, found, [])
    clients = [wanted.client] if wanted.client else user.clients
    dead = dead_callbacks.page(
        connection, SHOWN + 1, clients=clients, target=wanted.target, after=wanted.after
    )
    return Stored(now, found, dead)


def _place(one: DeadCallback) -> Place:
    return Place(one.client, one.target, one.seq)


def _number(text: str) -> int | None:
    """Return a number of a form or of a path; None where it is none, or none that the store can have."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
