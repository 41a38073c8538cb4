"""The page of the messages for which some conditions hold, and the search for one of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from litestar import Response, get, post
from litestar.response import Redirect
from sqlalchemy import Connection

from gatepost.config.settings import Settings
from gatepost.console.access import ConsoleRequest
from gatepost.console.message_query import MAX_TEXT, MessageQuery, read_query
from gatepost.console.own_parts import own_parts
from gatepost.console.rendering import page
from gatepost.console.services import SERVICES_KEY, ConsoleServices
from gatepost.model import Channel, Status
from gatepost.observe.redaction import looks_private
from gatepost.outbox import message_search, refusals
from gatepost.outbox.console_users import ConsoleUser
from gatepost.outbox.message_filter import MessageFilter
from gatepost.outbox.message_indexes import MAX_FEW_OF_PAGE
from gatepost.outbox.message_search import MessagePage
from gatepost.outbox.queues import all_queues
from gatepost.outbox.refusals import RefusalPage
from gatepost.outbox.states import State
from gatepost.web.admin import known_names, message_history
from gatepost.web.admin.known_names import NO_ADDRESSES
from gatepost.web.admin.message_facts import problems
from gatepost.web.admin.message_timeline import refusal_text

PAGE_SIZE = 50
"""Messages of a page."""

SEARCH_TIME = 0.1
"""Seconds for which one page searches; the browser asks for the next part by itself."""

COUNT_TIME = 0.03
"""Seconds for which all pages' messages are counted."""


class Names(NamedTuple):
    """What the filter offers."""

    clients: Sequence[str]
    routes: Sequence[str]
    plugins: Sequence[str]
    channels: Sequence[str] = tuple(Channel)
    states: Sequence[str] = tuple(State)
    statuses: Sequence[str] = tuple(Status)


class Found(NamedTuple):
    """What a page shows."""

    names: Names
    messages: MessagePage | None = None
    refused: RefusalPage | None = None
    refused_to_user: int = 0
    """Refused requests for the user whose messages are shown."""

    @property
    def next(self) -> str:
        """The place where the next page begins; empty: there is none."""
        if self.messages is not None:
            return self.messages.next
        return "" if self.refused is None or self.refused.next is None else str(self.refused.next)


@get("/messages")
async def messages_page(request: ConsoleRequest) -> Response[Any]:
    """Show the messages that a filter means, the newest first."""
    services: ConsoleServices = request.app.state[SERVICES_KEY]
    user: ConsoleUser = request.user.user
    query = read_query(request.query_params, user)
    found = await services.reader.read(
        lambda connection: _find(connection, query, services.admin.settings, user)
    )
    return page(
        request,
        "messages.html",
        status=400 if query.problems else 200,
        query=query,
        found=found,
        unknown=list(_unknown(query, found.names)),
        problems_of=problems,
        refusal_text=refusal_text,
    )


def _find(connection: Connection, query: MessageQuery, settings: Settings, user: ConsoleUser) -> Found:
    queues = [queue for queue in all_queues(connection) if user.may_see(queue.client)]
    own = own_parts(settings, user)
    names = Names(
        clients=[one for one in known_names.clients(settings, queues) if user.may_see(one)],
        routes=sorted({*own.routes, *(queue.route for queue in queues)} - {""}),
        plugins=sorted(own.instances),
    )
    if query.problems:
        return Found(names)
    if query.refused:
        before = int(query.after) if query.after else None
        return Found(
            names, refused=refusals.find_page(connection, query.wanted, before=before, limit=PAGE_SIZE)
        )
    return Found(
        names,
        message_search.find(
            connection,
            query.wanted,
            after=query.after,
            limit=PAGE_SIZE,
            search_time=SEARCH_TIME,
            count_time=COUNT_TIME,
            max_few=MAX_FEW_OF_PAGE,
        ),
        refused_to_user=_refused_to(connection, query.wanted) if query.wanted.user else 0,
    )


def _refused_to(connection: Connection, wanted: MessageFilter) -> int:
    of_user = MessageFilter(user=wanted.user, clients=wanted.clients)
    return refusals.find_page(connection, of_user, limit=1).matching


def _unknown(query: MessageQuery, names: Names) -> Sequence[str]:
    """Return a sentence for each name that neither the configuration nor the store has."""
    known = {"client": names.clients, "route": names.routes, "plugin": names.plugins}
    return [
        f"There is no {what} {query.typed[what]}; {known_names.advice(query.typed[what], among)}."
        for what, among in known.items()
        if what in query.typed and query.typed[what] not in among
    ]


@post("/messages", status_code=200)
async def find_message(request: ConsoleRequest) -> Response[Any]:
    """Lead to the message with an id: ours, Smartico's or the provider's; or to the messages of a user with this id.

    It is a POST, so that no log has what was typed.
    """
    services: ConsoleServices = request.app.state[SERVICES_KEY]
    user: ConsoleUser = request.user.user
    identity = str((await request.form()).get("id", "")).strip()
    if not identity:
        return Redirect("/messages", status_code=303)
    if len(identity) > MAX_TEXT or not identity.isprintable():
        return _not_found(request, identity)
    found = await services.reader.read(
        lambda connection: message_history.find(connection, identity, services.reader.clock, user.clients)
    )
    if len(found.messages) == 1:
        return Redirect(f"/messages/{found.messages[0].id}", status_code=303)
    if not found.messages and not found.refusals:
        of_user = MessageFilter(user=identity, clients=tuple(user.clients))
        if await services.reader.read(lambda connection: _has_requests(connection, of_user)):
            return Redirect(f"/messages?{urlencode({'user': identity})}", status_code=303)
        return _not_found(request, identity)
    return page(
        request,
        "message_found.html",
        identity=identity,
        found=found,
        problems_of=problems,
        refusal_text=refusal_text,
    )


def _has_requests(connection: Connection, of_user: MessageFilter) -> bool:
    stored = message_search.find(connection, of_user, limit=1, search_time=SEARCH_TIME, count_time=COUNT_TIME)
    return bool(stored.messages) or _refused_to(connection, of_user) > 0


def _not_found(request: ConsoleRequest, identity: str) -> Response[Any]:
    if looks_private(identity):
        problem = f"No message has this id. If it is no id of a provider, {NO_ADDRESSES}."
        return page(request, "error.html", status=400, problem=problem)
    problem = (
        "No message and no user has this id: it was refused more than a day ago, or it ended longer ago than "
        "delivery.retention, or it belongs to a client whose messages you may not see."
    )
    return page(request, "error.html", status=404, problem=problem)
