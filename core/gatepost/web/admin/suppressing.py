"""The operations that say which users must not be contacted."""

from gatepost.observe import logs
from gatepost.outbox import suppressions
from gatepost.outbox.suppressions import NewSuppression, Removal
from gatepost.web.admin.requests import SuppressRequest, UnsuppressRequest
from gatepost.web.admin.services import AdminServices, OperationRefused

_log = logs.get(__name__)


async def suppress(services: AdminServices, request: SuppressRequest, actor: str) -> None:
    """Refuse and reject messages to a user from now on."""
    if request.client not in services.settings.clients:
        raise OperationRefused("the running gateway has no such client")
    order = NewSuppression(request.client, request.ext_user_id, request.reason, actor, request.ends_at)
    await services.outbox.change(suppressions.add, order)
    # Without the user: an id may look like an address, and the log has none.
    _log.info("user_suppressed", client=request.client)


async def unsuppress(services: AdminServices, request: UnsuppressRequest, actor: str) -> bool:
    """Let a user be contacted again; return whether the user was suppressed. The client may have been removed."""
    order = Removal(request.client, request.ext_user_id, request.reason, actor)
    removed = await services.outbox.change(suppressions.remove, order)
    if removed:
        _log.info("user_no_longer_suppressed", client=request.client)
    return removed
