"""The console as an ASGI application: its pages, and what stands before each of them."""

import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from litestar import Litestar, Response
from litestar.exceptions import HTTPException, NotFoundException
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.response import Redirect
from litestar.static_files import create_static_files_router
from litestar.template.config import TemplateConfig
from litestar.types import ASGIApp, Scope

from gatepost.config.settings import Settings
from gatepost.console.access import Access, ConsoleRequest, require_user
from gatepost.console.audit_page import audit_page
from gatepost.console.batch_page import batch_page, prepare_batch, start_batch
from gatepost.console.batches import BatchChanges
from gatepost.console.callbacks_page import callbacks_page, tell_again
from gatepost.console.hardening import Hardened
from gatepost.console.login_throttle import LoginThrottle
from gatepost.console.message_page import change_message, message_page
from gatepost.console.messages_page import find_message, messages_page
from gatepost.console.overview_page import overview_page
from gatepost.console.passwords import PasswordCheck
from gatepost.console.plugins_page import pause, plugins_page, resume
from gatepost.console.recent import RecentValues
from gatepost.console.rendering import environment, page
from gatepost.console.services import SERVICES_KEY, ConsoleServices
from gatepost.console.sign_in import login, login_page, logout
from gatepost.console.stats_page import stats_download, stats_page
from gatepost.errors import StoreError
from gatepost.observe import logs
from gatepost.outbox.reader import Reader
from gatepost.web.admin.services import AdminServices

STATIC = Path(__file__).parent / "static"

_FILES = frozenset(f"/static/{one.name}" for one in STATIC.iterdir())

_PUBLIC = frozenset({"/login", *_FILES})
"""What can be seen without having signed in."""

_log = logs.get(__name__)


@asynccontextmanager
async def open_console(settings: Settings, admin: AdminServices, host: str) -> AsyncIterator[ASGIApp]:
    """Open the console of a running gateway; ``host`` is the address on which it listens."""
    reader = Reader(settings.store.url, settings.path.parent)
    passwords = PasswordCheck()
    batches = BatchChanges(admin, reader)
    console = settings.console
    access = Access(
        admin.outbox,
        reader,
        user_header=console.user_header,
        user_header_networks=console.user_header_networks,
        trusted_proxies=settings.server.trusted_proxies,
    )
    services = ConsoleServices(
        admin=admin,
        reader=reader,
        access=access,
        passwords=passwords,
        throttle=LoginThrottle(time.monotonic),
        recent=RecentValues(time.monotonic),
        batches=batches,
    )
    try:
        yield create_console(services, {host, "localhost", *console.hosts})
    finally:
        await batches.close()
        passwords.close()
        await reader.close()


def create_console(services: ConsoleServices, hosts: Collection[str]) -> ASGIApp:
    """Return the pages as an ASGI application that answers to these host names."""
    app = Litestar(
        route_handlers=[
            login_page,
            login,
            logout,
            overview_page,
            stats_page,
            stats_download,
            plugins_page,
            pause,
            resume,
            callbacks_page,
            tell_again,
            messages_page,
            find_message,
            message_page,
            change_message,
            prepare_batch,
            batch_page,
            start_batch,
            audit_page,
            create_static_files_router("/static", [STATIC], name="static"),
        ],
        before_request=_check,
        after_exception=[_log_unexpected],
        exception_handlers={StoreError: _store_page, HTTPException: _error_page, Exception: _crash_page},
        template_config=TemplateConfig(instance=JinjaTemplateEngine(engine_instance=environment())),
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
    app.state[SERVICES_KEY] = services
    return Hardened(app, hosts)


async def _check(request: ConsoleRequest) -> Redirect | None:
    path = request.url.path
    if path.startswith("/static/") and path not in _FILES:
        # What looks in the file system for it fails with some names.
        raise NotFoundException
    if path in _PUBLIC:
        return None
    services: ConsoleServices = request.app.state[SERVICES_KEY]
    return await require_user(request, services.access)


async def _log_unexpected(error: Exception, _scope: Scope) -> None:
    if not isinstance(error, HTTPException | StoreError):
        _log.error("internal_error", exc_info=error)


def _error_page(request: ConsoleRequest, error: HTTPException) -> Response[Any]:
    problem = {404: "There is no such page.", 405: "This page can't be changed."}.get(error.status_code)
    return page(request, "error.html", status=error.status_code, problem=problem or error.detail)


def _store_page(request: ConsoleRequest, error: StoreError) -> Response[Any]:
    problem = f"The store can't be read or changed now: {error}. Nothing was done. Try again in a moment."
    return page(request, "error.html", status=503, problem=problem)


def _crash_page(request: ConsoleRequest, _error: Exception) -> Response[Any]:
    problem = "An internal error, which the gateway's log shows. Nothing was done."
    return page(request, "error.html", status=500, problem=problem)
