"""The operation that shows whether everything is fine, and what an operator should look at now."""

import asyncio
from collections.abc import Iterator, Mapping

import msgspec

from gatepost.config.routes import Routes
from gatepost.config.settings import Settings
from gatepost.model import Channel
from gatepost.outbox import overview
from gatepost.outbox.overview import Overview
from gatepost.throttle import BreakerSnapshot, BreakerState
from gatepost.web.admin.requests import InstanceStatus, Status, StatusRequest
from gatepost.web.admin.services import AdminServices


async def status(services: AdminServices, _request: StatusRequest, _actor: str) -> Status:
    """Return the status of this gateway and of the store."""
    found = await services.outbox.change(overview.read, None)
    now = asyncio.get_running_loop().time()
    breakers = {name: throttle.snapshot(now) for name, throttle in services.throttles.items()}
    problems = [
        *(["the store refuses writes"] if services.outbox.is_failing else []),
        *_instance_problems(services.settings.routes, breakers),
        *store_problems(found),
    ]
    plugins = [
        InstanceStatus(
            instance=name,
            state=one.state.value,
            seconds=one.rest_remaining,
            misconfigured=one.misconfigured,
            reason=one.reason,
        )
        for name, one in breakers.items()
    ]
    store = configured(services.settings, found)
    return Status(gateway="running", problems=problems, plugins=plugins, store=store)


def configured(settings: Settings, found: Overview) -> Overview:
    """Return the overview without the shares of routes and instances that are no longer configured."""
    splits = settings.routes.balanced
    shares = [one for one in found.shares if one.instance in splits.get(one.route, {})]
    return msgspec.structs.replace(found, shares=shares)


def store_problems(found: Overview) -> Iterator[str]:
    """Describe what the store has for an operator to decide."""
    if held := sum(one.held for one in found.waiting):
        yield f"held messages: {held}. See gatepost messages list held"
    if found.callbacks.dead:
        yield f"callbacks that were given up: {found.callbacks.dead}. See gatepost messages list --dead"


def _instance_problems(routes: Routes, breakers: Mapping[str, BreakerSnapshot]) -> Iterator[str]:
    """Describe each misconfigured instance, and each route of which no instance can send."""
    for name, one in breakers.items():
        if one.misconfigured:
            yield f"plugins.{name}: misconfigured: {one.reason}"
    for channel in Channel:
        for position, route in enumerate(routes.of(channel)):
            # One with the weight 0 gets no messages.
            names = [name for name in route.instances if route.split.get(name, 1.0)]
            resting = [breakers[name].state is BreakerState.RESTING for name in names]
            if resting and all(resting):
                yield f"{routes.key(channel, position)}: none of its plugins can send now"
