"""The pages on which a user signs in and out."""

from typing import Any

from litestar import Response, get, post
from litestar.response import Redirect

from gatepost.console.access import ConsoleRequest
from gatepost.console.rendering import page
from gatepost.console.services import SERVICES_KEY, ConsoleServices
from gatepost.errors import StoreBusy
from gatepost.observe import logs
from gatepost.outbox import console_users
from gatepost.upkeep.durations import duration

_log = logs.get(__name__)

_WRONG = "There is no user with this name and this password."


@get("/login")
async def login_page(request: ConsoleRequest) -> Response[Any]:
    """Show the form."""
    return page(request, "login.html", next=_local(request.query_params.get("next", "/")), problem="")


@post("/login", status_code=200)
async def login(request: ConsoleRequest) -> Response[Any]:
    """Sign a user in, or show the form again with the reason why not."""
    services: ConsoleServices = request.app.state[SERVICES_KEY]
    form = await request.form()
    name, password = (str(form.get(field, "")) for field in ("name", "password"))
    target = _local(str(form.get("next", "/")))
    peer = request.client.host if request.client else ""
    keys = f"name {name[: console_users.MAX_NAME]}", f"address {peer}"
    if wait := services.throttle.wait(*keys):
        problem = f"Too many failed attempts. Try again in {duration(wait)}."
        return page(request, "login.html", status=429, next=target, problem=problem)
    user = await services.reader.read(lambda connection: console_users.find_user(connection, name))
    try:
        matches = await services.passwords.matches(user.password_hash if user else "", password)
    except StoreBusy as error:
        return page(request, "login.html", status=503, next=target, problem=f"Try again: {error}.")
    if not (user and matches):
        services.throttle.note_failure(*keys)
        _log.warning("console_sign_in_failed", peer=peer)
        return page(request, "login.html", status=401, next=target, problem=_WRONG)
    services.throttle.note_success(keys[0])
    _log.info("console_signed_in", user=user.name, peer=peer)
    return _redirect(target, await services.access.begin(user.name))


@post("/logout", status_code=303)
async def logout(request: ConsoleRequest) -> Response[Any]:
    """End the session."""
    services: ConsoleServices = request.app.state[SERVICES_KEY]
    return _redirect("/login", await services.access.end(request.user))


def _redirect(path: str, cookie: str) -> Redirect:
    # See other (303): the browser gets the next page, whatever it has sent.
    return Redirect(path, status_code=303, headers={"set-cookie": cookie})


def _local(path: str) -> str:
    """Return a path of the console; ``/`` for anything that would lead elsewhere."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) else "/"
