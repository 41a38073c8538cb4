"""The page on which an operator confirms a change of many messages, and sees how far it is."""

from typing import Any

from litestar import Response, get, post
from litestar.response import Redirect

from gatepost.console.access import ConsoleRequest
from gatepost.console.batches import Batch, Operation
from gatepost.console.message_query import read_query
from gatepost.console.rendering import page
from gatepost.console.services import SERVICES_KEY, ConsoleServices
from gatepost.web.admin.requests import reason_problem
from gatepost.web.admin.services import OperationRefused
from gatepost.web.admin.words import moment_text, plural

_UNKNOWN = (
    "This change is not known any more, because the gateway was started again or it was long ago. What it has done "
    "stands in the audit log. Begin again with the filter."
)


@post("/messages/batch", status_code=303)
async def prepare_batch(request: ConsoleRequest) -> Response[Any]:
    """Count what an operation would change, and lead to the page that asks for confirmation."""
    services: ConsoleServices = request.app.state[SERVICES_KEY]
    form = await request.form()
    query = read_query(form, request.user.user)
    name = str(form.get("operation", ""))
    if query.problems or query.refused or name not in list(Operation):
        problem = " ".join(query.problems) or "Choose what is to be done with the messages."
        return page(request, "error.html", status=400, problem=f"{problem} Nothing was done.")
    try:
        batch = await services.batches.prepare(request.user.user, Operation(name), query)
    except OperationRefused as error:
        return page(request, "error.html", status=409, problem=f"{error} Nothing was done.")
    return Redirect(f"/messages/batch/{batch.token}", status_code=303)


@get("/messages/batch/{token:str}")
async def batch_page(request: ConsoleRequest) -> Response[Any]:
    """Show a change of many messages."""
    services: ConsoleServices = request.app.state[SERVICES_KEY]
    batch = services.batches.find(request.path_params["token"], request.user.user)
    return _show(request, batch)


@post("/messages/batch/{token:str}", status_code=303)
async def start_batch(request: ConsoleRequest) -> Response[Any]:
    """Begin a change of many messages. A form that is sent again only shows how far it is."""
    services: ConsoleServices = request.app.state[SERVICES_KEY]
    batch = services.batches.find(request.path_params["token"], request.user.user)
    if batch is None:
        return _show(request, None)
    form = await request.form()
    reason, number = str(form.get("reason", "")).strip(), str(form.get("number", ""))
    if problem := reason_problem(reason):
        return _show(request, batch, problem=f"Nothing was done: {problem}.")
    shown = int(number) if number.isascii() and number.isdigit() and len(number) < 12 else -1
    services.batches.start(batch, shown, reason, request.user.actor)
    return Redirect(f"/messages/batch/{batch.token}", status_code=303)


def _show(request: ConsoleRequest, batch: Batch | None, *, problem: str = "") -> Response[Any]:
    if batch is None:
        return page(request, "error.html", status=404, problem=_UNKNOWN)
    return page(
        request,
        "batch.html",
        status=400 if problem else 200,
        batch=batch,
        what=f"{plural(batch.counted, 'message')} accepted until {moment_text(batch.accepted_until / 1000)}",
        plural=plural,
        problem=problem,
    )
