"""The operations that pause and resume sending."""

from collections.abc import Iterator, Sequence

from gatepost.config.routes import Route
from gatepost.config.settings import Settings
from gatepost.model import Channel
from gatepost.observe import logs
from gatepost.outbox import Outbox, pauses
from gatepost.outbox.pauses import Pause, PauseOrder, ResumeOrder, Scope
from gatepost.web.admin.requests import Request
from gatepost.web.admin.services import OperationRefused

_log = logs.get(__name__)


class PauseRequest(Request, frozen=True, kw_only=True):
    """For ``pause``; the answer is the Pause."""

    scope: Scope
    reason: str = ""
    ends_at: float | None = None
    """Seconds since the epoch; None: it ends when it is resumed."""


class ResumeRequest(Request, frozen=True, kw_only=True):
    """For ``resume``; the answer is a list of the pauses that it ended."""

    scope: Scope | None
    """Exactly that of the pause; None: all pauses."""


async def pause(settings: Settings, outbox: Outbox, request: PauseRequest, actor: str) -> Pause:
    """Pause what is in the request's scope. Raises OperationRefused."""
    if problem := scope_problem(settings, request.scope):
        raise OperationRefused(problem)
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
        raise OperationRefused(f"there is no such pause; paused: {scopes or 'nothing'}")
    await outbox.read_pauses()
    for one in resumed.ended:
        _log.info("resumed", **_names(one.scope))
    return resumed.ended


def _names(scope: Scope) -> dict[str, str]:
    return {name: value for name, value in scope.columns().items() if value}


def scope_problem(settings: Settings, scope: Scope) -> str:
    """Return why this configuration has nothing that a pause of this scope would stop; empty where it has."""
    routes = [(channel, route) for channel in Channel for route in settings.routes.of(channel)]
    return next(_scope_problems(settings, scope, routes), "")


def _scope_problems(
    settings: Settings, scope: Scope, routes: Sequence[tuple[Channel, Route]]
) -> Iterator[str]:
    if scope.is_empty:
        yield "nothing is named that is to be paused"
    if scope.client and scope.client not in settings.clients:
        yield f"the configuration has no client {scope.client}; it has {', '.join(settings.clients)}"
    names = list(dict.fromkeys(route.name for _, route in routes))
    if scope.route and scope.route not in names:
        yield f"the configuration has no route {scope.route}; it has {', '.join(names)}"
    plugins = list(dict.fromkeys(name for _, route in routes for name in route.instances))
    if scope.plugin and scope.plugin not in plugins:
        yield f"no route has the plugin {scope.plugin}; routes have {', '.join(plugins)}"
    if not any(
        scope.channel in {None, channel}
        and scope.route in {"", route.name}
        and (not scope.plugin or scope.plugin in route.instances)
        for channel, route in routes
    ):
        yield f"no route has all of this: {scope.text}"
