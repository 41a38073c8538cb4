"""The pages on which a user signs in and out."""

from collections.abc import Sequence
from typing import Any

from litestar import Response, get, post
from litestar.response import Redirect

from gatepost.config.networks import Address
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
    # PostgreSQL takes no NUL.
    name = name if name.isprintable() else ""
    target = _local(str(form.get("next", "/")))
    address = services.access.address_of(request)
    keys, peer = _throttled(name, address), str(address or "")
    if wait := services.throttle.wait(*keys):
        return _wait_page(request, target, wait)
    user = await services.reader.read(lambda connection: console_users.find_user(connection, name))
    try:
        matches = await services.passwords.matches(user.password_hash if user else "", password)
    except StoreBusy as error:
        return page(request, "login.html", status=503, next=target, problem=f"Try again: {error}.")
    if wait := services.throttle.wait(*keys):
        # Guesses at the same moment: after the first that failed no other one learns anything.
        return _wait_page(request, target, wait)
    cookie = await services.access.begin(request, user) if user and matches else ""
    if not (user and cookie):
        services.throttle.note_failure(*keys)
        _log.warning("console_sign_in_failed", peer=peer)
        return page(request, "login.html", status=401, next=target, problem=_WRONG)
    services.throttle.note_success(keys[0])
    _log.info("console_signed_in", user=user.name, peer=peer)
    return _redirect(target, cookie)


@post("/logout", status_code=303)
async def logout(request: ConsoleRequest) -> Response[Any]:
    """End the session."""
    services: ConsoleServices = request.app.state[SERVICES_KEY]
    return _redirect("/login", await services.access.end(request))


def _throttled(name: str, address: Address | None) -> Sequence[str]:
    """Return for what a failure counts: the name, and the address it came from."""
    keys = [f"name {name[: console_users.MAX_NAME]}"]
    # The machine itself is everybody who comes through a proxy or a tunnel.
    if address is not None and not address.is_loopback:
        keys.append(f"address {address}")
    return keys


def _wait_page(request: ConsoleRequest, target: str, wait: float) -> Response[Any]:
    problem = f"Too many failed attempts. Try again in {duration(wait)}."
    return page(request, "login.html", status=429, next=target, problem=problem)


def _redirect(path: str, cookie: str) -> Redirect:
    # See other (303): the browser gets the next page, whatever it has sent.
    return Redirect(path, status_code=303, headers={"set-cookie": cookie})


def _local(path: str) -> str:
    """Return a path of the console; ``/`` for anything that would lead elsewhere."""
    # Browsers pass over a tab and a line break: after `/` they would make `//` of what follows.
    return path if path.startswith("/") and path.isprintable() and not path.startswith(("//", "/\\")) else "/"
