"""The operations that change who may use the console."""

from gatepost.config.settings import Settings
from gatepost.observe import logs
from gatepost.outbox import Outbox, console_users
from gatepost.outbox.console_users import UserChange, UserRemoval
from gatepost.web.admin.requests import ConsoleUserRequest, RemoveConsoleUserRequest
from gatepost.web.admin.services import require_client

_log = logs.get(__name__)


async def put(settings: Settings, outbox: Outbox, request: ConsoleUserRequest, actor: str) -> bool:
    """Store a user in place of an earlier one of the name; return whether it is new. Raises OperationRefused."""
    for client in request.user.clients:
        require_client(settings, client)
    is_new = await outbox.change(console_users.put_user, UserChange(request.user, actor))
    _log.info("console_user_stored", user=request.user.name, role=request.user.role)
    return is_new


async def remove(_settings: Settings, outbox: Outbox, request: RemoveConsoleUserRequest, actor: str) -> bool:
    """Remove a user, whose sessions end; return whether there was one."""
    existed = await outbox.change(console_users.remove_user, UserRemoval(request.name, actor))
    if existed:
        _log.info("console_user_removed", user=request.name)
    return existed
