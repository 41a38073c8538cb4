"""The operations that say which users must not be contacted."""

from gatepost.config.settings import Settings
from gatepost.observe import logs
from gatepost.outbox import Outbox, suppressions
from gatepost.outbox.suppressions import NewSuppression, Removal
from gatepost.web.admin.requests import SuppressRequest, UnsuppressRequest
from gatepost.web.admin.services import require_client

_log = logs.get(__name__)


async def suppress(settings: Settings, outbox: Outbox, request: SuppressRequest, actor: str) -> None:
    """Refuse and reject messages to a user from now on. Raises OperationRefused."""
    require_client(settings, request.client)
    order = NewSuppression(request.client, request.ext_user_id, request.reason, actor, request.ends_at)
    await outbox.change(suppressions.add, order)
    # Without the user: an id may look like an address, and the log has none.
    _log.info("user_suppressed", client=request.client)


async def unsuppress(_settings: Settings, outbox: Outbox, request: UnsuppressRequest, actor: str) -> bool:
    """Let a user be contacted again; return whether the user was suppressed. The client may have been removed."""
    order = Removal(request.client, request.ext_user_id, request.reason, actor)
    removed = await outbox.change(suppressions.remove, order)
    if removed:
        _log.info("user_no_longer_suppressed", client=request.client)
    return removed
