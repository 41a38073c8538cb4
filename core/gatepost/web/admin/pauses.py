"""The operations that pause and resume sending."""

from collections.abc import Sequence

from gatepost.config.settings import Settings
from gatepost.model import Channel
from gatepost.observe import logs
from gatepost.outbox import Outbox, pauses
from gatepost.outbox.pauses import Pause, PauseOrder, ResumeOrder, Scope
from gatepost.web.admin.requests import PauseRequest, ResumeRequest
from gatepost.web.admin.services import OperationRefused, require_client

_log = logs.get(__name__)


async def pause(settings: Settings, outbox: Outbox, request: PauseRequest, actor: str) -> Pause:
    """Pause what is in the request's scope. Raises OperationRefused."""
    _require_effect(settings, request.scope)
    order = PauseOrder(request.scope, actor, request.reason, request.ends_at)
    paused = await outbox.change(pauses.pause, order)
    if paused is None:
        raise OperationRefused("the end of the pause has passed already")
    await outbox.read_pauses()
    _log.info("paused", **_names(paused.scope))
    return paused


async def resume(_settings: Settings, outbox: Outbox, request: ResumeRequest, actor: str) -> Sequence[Pause]:
    """End the pause with this scope, or all pauses. Raises OperationRefused where there is none."""
    resumed = await outbox.change(pauses.resume, ResumeOrder(request.scope, actor))
    if not resumed.ended:
        scopes = "; ".join(one.scope.text for one in resumed.others)
        raise OperationRefused(f"there is no such pause; paused: {scopes}" if scopes else "nothing is paused")
    await outbox.read_pauses()
    for one in resumed.ended:
        _log.info("resumed", **_names(one.scope))
    return resumed.ended


def _names(scope: Scope) -> dict[str, str]:
    return {name: value for name, value in scope.columns().items() if value}


def _require_effect(settings: Settings, scope: Scope) -> None:
    """Raise OperationRefused unless the configuration has something that a pause of this scope would stop."""
    if scope.is_empty:
        raise OperationRefused("nothing is named that is to be paused")
    if scope.client:
        require_client(settings, scope.client)
    routes = [(channel, route) for channel in Channel for route in settings.routes.of(channel)]
    names = list(dict.fromkeys(route.name for _, route in routes))
    if scope.route and scope.route not in names:
        raise OperationRefused(
            f"the configuration in use has no route {scope.route}; it has {', '.join(names)}"
        )
    plugins = list(dict.fromkeys(name for _, route in routes for name in route.instances))
    if scope.plugin and scope.plugin not in plugins:
        raise OperationRefused(f"no route has the plugin {scope.plugin}; routes have {', '.join(plugins)}")
    if not any(
        scope.channel in {None, channel}
        and scope.route in {"", route.name}
        and (not scope.plugin or scope.plugin in route.instances)
        and (not scope.client or not route.clients or scope.client in route.clients)
        for channel, route in routes
    ):
        raise OperationRefused(f"no route sends such messages: {scope.text}")
