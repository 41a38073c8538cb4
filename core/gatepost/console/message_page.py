"""The page of one message: what happened, what comes next, and what an operator can do."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, NamedTuple

import msgspec
from litestar import Response, get, post
from litestar.response import Redirect
from sqlalchemy import Connection

from gatepost.console.access import ConsoleRequest
from gatepost.console.rendering import page
from gatepost.console.services import SERVICES_KEY, ConsoleServices
from gatepost.model import Channel
from gatepost.outbox import suppressions
from gatepost.outbox.cancellations import CANCELLABLE
from gatepost.outbox.console_users import ConsoleUser
from gatepost.outbox.queries import MessageView
from gatepost.outbox.retries import RETRYABLE
from gatepost.outbox.states import FINAL_STATES, CallbackState
from gatepost.outbox.suppressions import Suppression
from gatepost.web.admin import cancellations, message_history, requests, retries, sending
from gatepost.web.admin import suppressions as suppression_operations
from gatepost.web.admin.message_facts import facts
from gatepost.web.admin.message_history import Found
from gatepost.web.admin.message_timeline import next_steps
from gatepost.web.admin.requests import RestingInstancesRequest
from gatepost.web.admin.services import AdminServices, OperationRefused

NO_SUCH_MESSAGE = (
    "There is no such message: it ended longer ago than delivery.retention, or it belongs to a client whose messages "
    "you may not see."
)

_LENGTH_OF_ID = 36

_DONE = {
    "cancel": "The message is cancelled.",
    "retry": "The message is queued again.",
    "tell": "Its callbacks are made now.",
    "suppress": "The user is suppressed: messages to this user are refused from now on.",
}


class _Shown(NamedTuple):
    found: Found
    suppression: Suppression | None


@get("/messages/{message_id:str}")
async def message_page(request: ConsoleRequest) -> Response[Any]:
    """Show one message."""
    message_id = request.path_params["message_id"]
    return await _show(request, message_id, done=_DONE.get(request.query_params.get("done", ""), ""))


@post("/messages/{message_id:str}/{operation:str}", status_code=303)
async def change_message(request: ConsoleRequest) -> Response[Any]:
    """Do one of the operations on one message, and show it again."""
    message_id, operation = request.path_params["message_id"], request.path_params["operation"]
    services: ConsoleServices = request.app.state[SERVICES_KEY]
    change = _OPERATIONS.get(operation)
    shown = await _read(services, message_id, request.user.user) if change else None
    if change is None or shown is None:
        return page(request, "error.html", status=404, problem=NO_SUCH_MESSAGE)
    reason = str((await request.form()).get("reason", "")).strip()
    try:
        problem = await change(services.admin, shown.found.messages[0], reason, request.user.actor)
    except (ValueError, OperationRefused) as error:
        problem = str(error)
    if problem:
        return await _show(request, message_id, problem=f"Nothing was changed: {problem}.")
    return Redirect(f"/messages/{message_id}?done={operation}", status_code=303)


async def _show(
    request: ConsoleRequest, message_id: str, *, done: str = "", problem: str = ""
) -> Response[Any]:
    services: ConsoleServices = request.app.state[SERVICES_KEY]
    shown = await _read(services, message_id, request.user.user)
    if shown is None:
        return page(request, "error.html", status=404, problem=NO_SUCH_MESSAGE)
    message, admin = shown.found.messages[0], services.admin
    around = message_history.surroundings(message, shown.found, admin.settings)
    if message_history.depends_on_others(message):
        order = RestingInstancesRequest(channel=Channel(message.channel))
        resting = await sending.resting_instances(admin, order, request.user.actor)
        own = message_history.instances_of(message, admin.settings)
        around = msgspec.structs.replace(around, resting=[one for one in resting if one.instance in own])
    return page(
        request,
        "message.html",
        status=409 if problem else 200,
        message=message,
        facts=facts(message),
        happened=message_history.happened(message, shown.found, admin.settings),
        following=next_steps(message, around),
        suppression=shown.suppression,
        operations=_possible(message) if request.user.user.may_change else (),
        is_final=message.state in FINAL_STATES,
        done=done,
        problem=problem,
    )


async def _read(services: ConsoleServices, message_id: str, user: ConsoleUser) -> _Shown | None:
    """Return what is stored of a message; None where there is none that the user may see."""
    if len(message_id) != _LENGTH_OF_ID or not message_id.isprintable():
        return None
    clock = services.reader.clock

    def query(connection: Connection) -> _Shown | None:
        found = message_history.find(connection, message_id, clock, user.clients)
        if [one.id for one in found.messages] != [message_id]:
            return None
        message = found.messages[0]
        suppressed = suppressions.list_suppressions(
            connection, found.now / 1000, client=message.client, ext_user_id=message.ext_user_id, limit=1
        )
        return _Shown(found, suppressed[0] if suppressed and message.ext_user_id else None)

    return await services.reader.read(query)


def _possible(message: MessageView) -> Collection[str]:
    """Return the operations that would change something."""
    callbacks = {CallbackState(one.callback_state) for one in message.statuses if one.called_at is not None}
    possible = {
        "retry": message.state in RETRYABLE and message.has_content,
        "cancel": message.state in CANCELLABLE,
        "tell": bool(callbacks & {CallbackState.DEAD, CallbackState.QUEUED}),
        "suppress": bool(message.ext_user_id),
    }
    return [name for name, is_possible in possible.items() if is_possible]


_Change = Callable[[AdminServices, MessageView, str, str], Awaitable[str]]


async def _cancel(admin: AdminServices, message: MessageView, reason: str, actor: str) -> str:
    request = requests.CancelIdsRequest(ids=[message.id], reason=reason)
    (result,) = await cancellations.cancel_ids(admin.settings, admin.outbox, request, actor)
    return result.problem


async def _retry(admin: AdminServices, message: MessageView, _reason: str, actor: str) -> str:
    request = requests.RetryRequest(ids=[message.id])
    (result,) = await retries.retry(admin.settings, admin.outbox, request, actor)
    return result.problem


async def _tell(admin: AdminServices, message: MessageView, _reason: str, actor: str) -> str:
    (result,) = await retries.tell_now(admin, requests.RetryRequest(ids=[message.id]), actor)
    return result.problem


async def _suppress(admin: AdminServices, message: MessageView, reason: str, actor: str) -> str:
    if not message.ext_user_id:
        return "the user of this message was forgotten"
    request = requests.SuppressRequest(client=message.client, ext_user_id=message.ext_user_id, reason=reason)
    await suppression_operations.suppress(admin.settings, admin.outbox, request, actor)
    return ""


_OPERATIONS: Mapping[str, _Change] = {
    "cancel": _cancel,
    "retry": _retry,
    "tell": _tell,
    "suppress": _suppress,
}
