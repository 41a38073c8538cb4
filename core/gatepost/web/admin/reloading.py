"""The operation that takes over a changed configuration."""

from gatepost.web.admin.requests import Reload, ReloadRequest
from gatepost.web.admin.services import AdminServices, OperationRefused


async def reload(services: AdminServices, request: ReloadRequest, actor: str) -> Reload:
    """Read the configuration again and take it over, or with ``dry`` only say what that would do."""
    if services.reload is None:
        raise OperationRefused("this gateway can't read its configuration again")
    return await services.reload(actor, dry=request.dry)
